from .clip import Clip as Clip
from .clip import ClipFeatures as ClipFeatures
from .extract import Extraction as Extraction
from .extract import extract as extract
from .extractor import Extractor as Extractor
from .settings import Settings as Settings
from .stream import Stream as Stream
from .synthesise import synthesise as synthesise
