"""Float64 NumPy versions of what the library computes, written from the equations, for tests only."""
