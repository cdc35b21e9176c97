"""One adapter per model family, each in a module that imports its libraries when it is imported itself.

Every adapter module has ``load(spec, device)``, which returns an engine with the property ``device``: where
the model's parameters really are.
"""

from collections.abc import Mapping
from types import MappingProxyType

# Engine, as a profile names it -> the module that adapts it. A stage without a model has no entry.
ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "pyannote": "channelscribe.models.diarization",
        "moonshine": "channelscribe.models.moonshine",
        "campplus": "channelscribe.models.campplus",
        "sentence-transformers": "channelscribe.models.text_embedding",
    }
)
