"""Room: classes of volumes, and the volumes of the hosts."""
