"""Makes this folder importable: what the tests of several rooms share lies beside this file."""
