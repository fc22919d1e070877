"""`python -m cortexc.lava_procs`: from now on Lava can be imported here, whatever a program imports first."""

import sysconfig

from cortexc.lava_procs.mend import mend_environment

mend_environment(sysconfig.get_path("purelib"))
