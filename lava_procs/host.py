"""The parent's side of a compiled folder: builds the groups' work, starts the Lava network, reads results.

A folder holds `network_lava.py`, `kernels.py` and `kernels.c`, `runtime.py`, `loading.py`, `program.json` and
`program.safetensors`. Nothing of the compiler is needed to run it.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexc.lava_procs.children import STARTING_LOCK, import_lava
from cortexc.lava_procs.folder import FolderError, kernels_of, read_folder, running_code_of
from cortexc.lava_procs.importing import import_file
from cortexc.lava_procs.work import GroupWork, shared_array

_FOLDERS = itertools.count()


class Host:
    """A compiled folder, ready to run. `state` and `records` are read between runs."""

    def __init__(self, folder: str | Path, network: ModuleType | None = None):
        self.folder = Path(folder)
        self.description, self.arrays = read_folder(self.folder)
        self.tag = f"cortexc_folder{next(_FOLDERS)}"
        with running_code_of(self.folder / "runtime.py"):
            self.runtime = import_file(self.folder / "runtime.py", self.tag + "_runtime")
        with running_code_of(self.folder / "kernels.py"):
            loading = import_file(self.folder / "loading.py", self.tag + "_loading")
            self.kernels = loading.load_kernels(*kernels_of(self.folder, self.description))
        self.network = network
        self.limit = shared_array(1, np.int64)
        self.samples = self.arrays["samples"]
        self.feed = self._feed("full")
        self.records = shared_array(max(self.feed.record_size, 1))
        with running_code_of(self.folder / "kernels.py"):
            self.works = {name: self._work(number, name, group)
                          for number, (name, group) in enumerate(self.description["groups"].items())}
        self.supervisor: Any = None

    def _feed(self, kind: str) -> Any:
        d = self.description
        spec = self.runtime.NoiseSpec(**{**d["noise"], "columns": [tuple(c) for c in d["noise"]["columns"]]})
        if kind == "gates only":
            spec.kind = "none"
        feed = self.runtime.Feed(d["protocol"], d["gates"], spec, self.arrays.get("recorded_noise"))
        if self.kernels.draw:
            feed.leave_to_kernels()
        return feed

    def _work(self, number: int, name: str, group: dict[str, Any]) -> GroupWork:
        initial = self.arrays[f"memory.{name}"]
        memory = shared_array(len(initial))
        memory[:] = initial
        offsets = {slot: (offset, size) for slot, (offset, size) in group["slots"].items()}
        table, pieces = (self.arrays[f"{what}.{name}"].view(np.uint64) for what in ("table", "pieces"))
        kernels = self.kernels.bind(number, memory, self.arrays[f"indices.{name}"], table, pieces, self.samples,
                                    self.records)
        return GroupWork(name, memory, offsets, group["n_step"], kernels, self._feed(group["feed"]), len(pieces) > 0,
                         self.limit, self.description["block"])

    # ---- running

    @property
    def whole_network(self) -> bool:
        """Whether one group runs many network steps per Lava step."""
        return len(self.works) == 1

    @property
    def leader(self) -> GroupWork:
        """A group whose feed draws samples and noise, so that its state is complete."""
        groups = self.description["groups"]
        return self.works[next((n for n in groups if groups[n]["feed"] == "full"), next(iter(groups)))]

    def start(self) -> None:
        """Builds the Lava network and starts its processes. Raises the supervisor's errors."""
        with running_code_of(self.folder / "kernels.py"):
            for work in self.works.values():
                work.warm_up()
        with STARTING_LOCK:
            self._start()

    def _start(self) -> None:
        import_lava()
        from lava.magma.core.run_configs import Loihi2SimCfg

        from cortexc.lava_procs.supervisor import Supervisor

        with running_code_of(self.folder / "network_lava.py"):
            if self.network is None:
                self.network = import_file(self.folder / "network_lava.py", self.tag + "_network")
            processes = self.network.build(self.works)
            models = {process: self.network.MODELS[type(process)] for process in processes}
        config = Loihi2SimCfg(exception_proc_model_map=models)
        self.supervisor = Supervisor(processes, config)
        self.supervisor.start()

    def run(self, steps: int | None = None) -> int:
        """Advances the network by `steps` (default: to the end of the protocol); returns the position."""
        if self.supervisor is None:
            self.start()
        position = self.position
        end = self.feed.total if steps is None else min(self.feed.total, position + steps)
        self.limit[0] = end
        block = self.description["block"] if self.whole_network else 1
        self.supervisor.run(math.ceil((end - position) / block))
        return self.position

    @property
    def position(self) -> int:
        """Network steps done."""
        return int(self.leader.at[1])

    def stop(self) -> None:
        """Ends the network; safe in every state."""
        if self.supervisor is not None:
            self.supervisor.stop()
            self.supervisor = None

    # ---- state

    def value(self, slot: str) -> NDArray[Any]:
        """A slot, put together from the groups that write its parts (the others hold copies). Raises KeyError."""
        owners = self.description["owners"].get(slot)
        if owners is None:
            holders = [work for work in self.works.values() if slot in work.offsets]
            if not holders:
                raise KeyError(slot)
            return np.array(holders[0].memory_of(slot))
        size = self.works[owners[0][0]].offsets[slot][1]
        found = np.zeros(size)
        for group, first, last, stride in owners:
            own = self.works[group].memory_of(slot)
            if size:
                found.reshape(-1, stride)[:, first:last] = own.reshape(-1, stride)[:, first:last]
        return found

    def put(self, slot: str, values: NDArray[Any]) -> None:
        """Sets a slot in every group that has it; between runs, when all groups wait."""
        for work in self.works.values():
            if slot in work.offsets:
                work.memory_of(slot)[:len(values)] = values

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that the next step depends on, by slot name."""
        names = dict.fromkeys(slot for work in self.works.values() for slot in work.offsets)
        result = {f"memory.{name}": self.value(name) for name in names}
        result |= {f"feed.{name}": array for name, array in self.leader.feed_now().state().items()}
        return result | {"records": np.array(self.records)}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Continues from `state()`; only before the network has started."""
        for work in self.works.values():
            for name, (offset, size) in work.offsets.items():
                work.memory[offset:offset + size] = state[f"memory.{name}"]
            work.feed.restore({k.removeprefix("feed."): v for k, v in state.items() if k.startswith("feed.")})
            work.mailbox.write(work.feed.state())
            work.at[:] = 0, work.feed.position
        self.records[:] = state["records"]


def main(folder: str, network: ModuleType) -> None:
    """`python network_lava.py [STEPS]`: runs the folder and prints where it got to. Ends with 2 where the folder or
    STEPS are wrong, with 3 where the network failed, with 128 and the number of the signal that ended it."""
    from cortexc.lava_procs.supervisor import Interrupted, SupervisorError

    try:
        print(json.dumps(_run_once(Path(folder).parent, network, sys.argv[1:])))
    except FolderError as error:
        sys.exit(_said(error, 2))
    except SupervisorError as error:
        sys.exit(_said(error, 128 + error.signal if isinstance(error, Interrupted) else 3))


def _said(error: Exception, exit_code: int) -> int:
    print(error, file=sys.stderr)
    return exit_code


def _run_once(folder: Path, network: ModuleType, arguments: list[str]) -> dict[str, Any]:
    if arguments and not arguments[0].isdecimal():
        raise FolderError("E708", f"'{arguments[0]}' is no number of steps.", "python network_lava.py [STEPS]")
    host = Host(folder, network)
    began = time.perf_counter()
    try:
        host.start()
        ready = time.perf_counter()
        position = host.run(int(arguments[0]) if arguments else None)
    finally:
        host.stop()
    seconds = time.perf_counter() - ready
    return {"steps": position, "processes": len(host.works), "start_s": round(ready - began, 3),
            "run_s": round(seconds, 3)}
