"""How a network bears corrupted images: measured, summed up, shown, compared."""
