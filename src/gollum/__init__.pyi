from gollum import errors as errors
from gollum.acquisition.criteria import CRITERIA as CRITERIA
from gollum.acquisition.criteria import Criterion as Criterion
from gollum.acquisition.strategy import STRATEGIES as STRATEGIES
from gollum.acquisition.strategy import BatchRequest as BatchRequest
from gollum.acquisition.strategy import Selection as Selection
from gollum.acquisition.strategy import Strategy as Strategy
from gollum.api import Campaign as Campaign
from gollum.api import run as run
from gollum.benchmark.config import load_config as load_config
from gollum.features.layout import Blocks as Blocks
from gollum.features.layout import Layout as Layout
from gollum.features.layout import Slot as Slot
from gollum.features.problem import Problem as Problem
from gollum.features.representations import REPRESENTATIONS as REPRESENTATIONS
from gollum.features.representations import Representation as Representation
from gollum.features.representations import Setup as Setup
from gollum.listener import Listener as Listener
from gollum.surrogates.base import FitReport as FitReport
from gollum.surrogates.base import Fitted as Fitted
from gollum.surrogates.base import Standardised as Standardised
from gollum.surrogates.base import Surrogate as Surrogate
from gollum.surrogates.kernels import KERNELS as KERNELS
from gollum.surrogates.kernels import KernelFactory as KernelFactory
from gollum.surrogates.specs import SURROGATES as SURROGATES
from gollum.surrogates.specs import SurrogateSpec as SurrogateSpec

__version__: str
