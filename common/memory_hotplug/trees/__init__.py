"""Where a machine is read from: sysfs, an archive, a simulated machine; files below its root."""
