"""electra-zh: pretrain and fine-tune ELECTRA for Chinese with TensorFlow 2."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "evaluate",
    "load_encoder",
    "load_predictor",
    "load_tokenizer",
    "predict",
    "read_results",
]

if TYPE_CHECKING:
    from electra_zh.api import (
        evaluate,
        load_encoder,
        load_predictor,
        load_tokenizer,
        predict,
        read_results,
    )


def __getattr__(name: str) -> Any:
    """Returns a name of the Python interface; TensorFlow is imported when it is called."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from electra_zh import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
