"""One job in several processes: process group, sharded models and synchronised batch normalisation."""
