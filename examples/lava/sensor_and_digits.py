"""A sensor of one's own in front of PAL: digits, 50 steps each, learnt while they are shown."""
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from sklearn.datasets import load_digits

import cortexc.lava


class Eye(AbstractProcess):
    def __init__(self, digits):
        super().__init__(digits=digits)
        self.image_out, self.label_out = OutPort(shape=(64,)), OutPort(shape=(10,))

@implements(Eye, protocol=LoihiProtocol)
@requires(CPU)
class EyeModel(PyLoihiProcessModel):
    image_out = label_out = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_spk(self):
        shown, digits = self.time_step // 50, self.proc_params["digits"]
        self.image_out.send(digits.data[shown] / 16)
        self.label_out.send(0.1 + 0.9 * (digits.target_names == digits.target[shown]))

if __name__ == "__main__":
    eye, on = Eye(load_digits()), dict.fromkeys(("learn_forward", "learn_lateral", "target"), 1)
    circuit = cortexc.lava.Circuit("pal_digits", gates=on)
    eye.image_out.connect(circuit.input_value_in)
    eye.label_out.connect(circuit.teacher_value_in)
    circuit.run(RunSteps(200), Loihi2SimCfg())
    print({name: float(abs(part.w.get() - part.w.init).max()) for name, part in circuit.projections.items()})
    circuit.stop()
