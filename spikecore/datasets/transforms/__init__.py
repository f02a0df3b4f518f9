"""Transforms of events or sound, mostly into arrays: frozen dataclasses that are called on it. Compose chains them."""

from spikecore.datasets.transforms.augment import DropEvents as DropEvents
from spikecore.datasets.transforms.augment import Flip as Flip
from spikecore.datasets.transforms.augment import Jitter as Jitter
from spikecore.datasets.transforms.augment import RandomTimeCrop as RandomTimeCrop
from spikecore.datasets.transforms.augment import ReverseTime as ReverseTime
from spikecore.datasets.transforms.augment import Shift as Shift
from spikecore.datasets.transforms.augment import Warp as Warp
from spikecore.datasets.transforms.base import Compose as Compose
from spikecore.datasets.transforms.base import RandomTransform as RandomTransform
from spikecore.datasets.transforms.base import Transform as Transform
from spikecore.datasets.transforms.base import apply as apply
from spikecore.datasets.transforms.filters import Denoise as Denoise
from spikecore.datasets.transforms.filters import Refractory as Refractory
from spikecore.datasets.transforms.frames import CountImage as CountImage
from spikecore.datasets.transforms.frames import ToFrames as ToFrames
from spikecore.datasets.transforms.frames import WholeSample as WholeSample
from spikecore.datasets.transforms.geometry import Crop as Crop
from spikecore.datasets.transforms.geometry import Downsample as Downsample
from spikecore.datasets.transforms.geometry import MergePolarities as MergePolarities
from spikecore.datasets.transforms.geometry import TimeCrop as TimeCrop
from spikecore.datasets.transforms.sound import LogMel as LogMel
from spikecore.datasets.transforms.surfaces import LocalTimeSurfaces as LocalTimeSurfaces
from spikecore.datasets.transforms.surfaces import TimeSurface as TimeSurface
from spikecore.datasets.transforms.surfaces import VoxelGrid as VoxelGrid
