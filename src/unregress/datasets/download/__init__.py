"""Download datasets: resume interrupted downloads, verify checksums, unpack archives."""
