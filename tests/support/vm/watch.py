"""`lsmem --watch`, in the guest, that finds nothing by looking again now and then: what it tells of
was announced."""

import sys

from lsmem_py import alarm, cli

alarm.UNANNOUNCED = 1e6
sys.argv[0] = "lsmem"
sys.argv.insert(1, "--watch=1000000")
cli.main()
