"""
Pictures that libraries would show in a window of their own: PIL's and OpenCV's are shown here.

A window of OpenCV shows one picture after the other. The next takes the place of the last, as in a
window, unless the code has waited for a key in between: then somebody was to look at it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, cast

from sanderling.kernel.figures import Picture, picture_name
from sanderling.kernel.hooks import after_import, do_nothing

# They make, move or close windows, or ask for what somebody does with them.
_WITHOUT_EFFECT = (
    "namedWindow destroyWindow destroyAllWindows moveWindow resizeWindow setWindowTitle "
    "setWindowProperty startWindowThread setMouseCallback createTrackbar"
).split()

Identified = Callable[..., AbstractContextManager[bool]]


class Windows:
    """Stands in for the windows of libraries."""

    def __init__(
        self,
        show_picture: Callable[[Picture], None],
        show: Callable[[object], None],
        identified: Identified,
    ) -> None:
        self._show_picture = show_picture
        self._show = show
        self._identified = identified
        self._looks = 0  # how often code has waited for somebody to look
        self._seen: set[str] = set()

    def install(self) -> None:
        """Wrap the libraries, now or when they are loaded."""
        after_import({"PIL.ImageShow": self._wrap_viewer, "cv2": self._wrap_opencv})

    def begin(self) -> None:
        """A new cell: no window of it is open."""
        self._seen.clear()

    def _wrap_viewer(self, module: ModuleType) -> None:
        """`Image.show()` of PIL looks for a program with a window; here it finds us first."""
        show = self._show

        class Viewer(cast("Any", module).Viewer):  # type: ignore[misc]
            def show(self, image: object, **_options: object) -> int:
                show(image)
                return 1

        cast("Any", module).register(Viewer, 0)

    def _wrap_opencv(self, module: ModuleType) -> None:
        cv2: Any = module

        def imshow(winname: object, mat: Any) -> None:
            self._show_array(cv2, str(winname), mat)

        def wait_key(delay: int = 0) -> int:
            self._looks += not delay
            return -1

        cv2.imshow, cv2.waitKey, cv2.waitKeyEx = imshow, wait_key, wait_key
        for name in _WITHOUT_EFFECT:
            setattr(cv2, name, do_nothing)
        cv2.getWindowProperty = lambda *_: -1.0

    def _show_array(self, cv2: Any, window: str, array: Any) -> None:
        if array.dtype.kind == "f":
            array = (array.clip(0, 1) * 255).round().astype("uint8")
        is_encoded, data = cv2.imencode(".png", array)
        if not is_encoded:
            raise ValueError("The array is no picture.")
        name = picture_name(None, window, "image")
        identity = f"{window} {self._looks}"
        is_update = identity in self._seen
        self._seen.add(identity)
        with self._identified(identity, is_update=is_update):
            self._show_picture(Picture("image/png", data.tobytes(), name))
