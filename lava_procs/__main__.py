"""`python -m lava_procs`: from now on Lava can be imported in this environment, whatever a program imports first."""

import sysconfig

from lava_procs.mend import mend_environment

mend_environment(sysconfig.get_path("purelib"))
