"""The plotting library of the page: Vega-Lite with Vega and its embedder, as vl-convert-python carries them."""

from results.files import WorkspaceError


def plotting_library() -> str:
    """The library as one script that needs nothing else; takes two or three seconds.

    Raises:
        WorkspaceError: the package that carries it is not installed.
    """
    try:
        import vl_convert
    except ImportError:
        raise WorkspaceError(
            "the report's plotting library is not installed: `pip install vl-convert-python`"
        ) from None
    return str(vl_convert.javascript_bundle())  # type: ignore[call-arg]  # its stub knows no default
