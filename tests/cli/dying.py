"""A job whose workers die. In a module that they can import."""

import os
import signal
import time


def dies(folder, number):
    """Of job 1 every worker dies, of job 2 the first."""
    (folder / f"{number}_{os.getpid()}").touch()
    if number == 1 or number == 2 and len(list(folder.glob("2_*"))) == 1:
        os.kill(os.getpid(), signal.SIGTERM if number == 2 else signal.SIGKILL)
        time.sleep(20)
    return number
