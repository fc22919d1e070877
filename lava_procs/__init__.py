"""The runtime library of generated Lava code: group models, host, heartbeat, supervisor. Imports no Lava by itself.

To be imported before Lava: on Python 3.11 and newer Lava needs the mend.
"""

from cortexc.lava_procs.mend import mend_lava

mend_lava()
