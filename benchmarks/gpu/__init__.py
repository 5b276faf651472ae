"""The sections of ``benchmarks.gpu_check``: each is a generator of rows, one module each."""
