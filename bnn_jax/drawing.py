"""What all pictures share: their colours, and a figure.

matplotlib is imported when a picture is drawn, and used without its global state: no window, no backend is chosen,
pictures elsewhere in the program are left alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT = "#33373d", "#d9dce1"
TRAIN, EVAL = "#2f6db5", "#d1603d"
# Of distinct hue and lightness, also to colour-blind readers.
GROUPS = ("#2f6db5", "#d1603d", "#3b9a74", "#8a63b0", "#b8892b", "#5c6470")
DPI = 150


def figure(width: float, height: float, **spacing: Any) -> "Figure":
    """An empty figure that arranges its panels itself, to be drawn on and saved.

    Args:
      width: Inches, of 150 pixels.
      height: Inches.
      **spacing: Of matplotlib's `ConstrainedLayoutEngine`: `w_pad`, `h_pad` in inches, `wspace`, `hspace`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    made = Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(**spacing))
    FigureCanvasAgg(made)
    return made
