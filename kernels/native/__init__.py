"""Our C++ kernels for x86-64 CPUs: their sources, their compilation and their loading."""
