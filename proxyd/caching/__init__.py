"""What the control plane does around the native cache: purges, reports, the snapshot on disk, and who hears of its events."""
