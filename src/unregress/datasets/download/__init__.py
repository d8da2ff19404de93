"""Downloads: resumed, verified, unpacked."""
