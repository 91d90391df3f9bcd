"""The engine; its names are shoal's own affair."""
from typing import Any

def __getattr__(name: str) -> Any: ...
