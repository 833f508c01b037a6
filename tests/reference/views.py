"""torchvision's rules for parts of images, as its documentation and its PIL backend have them."""


def resized(height, width, size):
    """(height, width) after `Resize(size)`: the shorter side becomes `size`, the longer one is cut to an integer."""
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = size, int(size * long / short)
    return (new_long, new_short) if width <= height else (new_short, new_long)


def center(height, width, size):
    """(top, left) of `CenterCrop(size)`."""
    return round((height - size) / 2.0), round((width - size) / 2.0)
