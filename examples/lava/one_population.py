"""A population of a compiled circuit, alone: PAL's hidden pyramidal cells, with a current into the apical dendrite."""

import subprocess
import sys

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import RingBuffer
from lava.proc.monitor.process import Monitor

if __name__ == "__main__":
    command = [sys.executable, "-m", "cortexc.compiler.cli", "compile", "pal_digits", "-o", "pal", "--circuit"]
    subprocess.run(command, check=True)
    sys.path.insert(0, "pal")
    from network_lava import HiddenPyramidal

    cells = HiddenPyramidal(3, tau=5.3, gbas=0.1, gapi=0.06, attenuation=0.5, sigma=0.0, tau_xi=0.1,
                            tau_high_pass=0.1, name="cells")
    current, monitor = RingBuffer(data=np.array([[0.0], [1.0], [2.0]])), Monitor()
    current.s_out.connect(cells.apical_in)
    monitor.probe(cells.u, 500)
    cells.run(RunSteps(500), Loihi2SimCfg())
    u = monitor.get_data()["cells"]["u"]
    print("u after 1, 100 and 500 steps:", *(u[n].round(3) for n in (0, 99, 499)))
    cells.stop()
