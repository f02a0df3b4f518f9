"""``poptorch.Options`` in the simulation: chainable setters that check types, frozen when a model is made."""

from __future__ import annotations

import copy
import enum
from typing import Any, Dict

import torch


class OutputMode(enum.IntEnum):
    """``poptorch.OutputMode``: the parts of a batch that a call returns."""

    Final, EveryN, All, Sum, Default = range(5)


class ConnectionType(enum.IntEnum):
    """``poptorch.ConnectionType``: the time at which a device is attached."""

    Always, OnDemand, Never = range(3)


class ReductionType(enum.IntEnum):
    """``poptorch.ReductionType``: the reduction of gradients over parts of a batch."""

    Sum, Mean, NoReduction = range(3)


class Settings:
    """Named values that can be frozen; only known names can be assigned."""

    def __init__(self, **values: Any) -> None:
        self.__dict__["_values"], self.__dict__["_frozen"] = values, False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self._values:
            raise AttributeError(f"simulated poptorch: no option {name!r}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in self._values, f"simulated poptorch: unknown option {name}"
        self.set(**{name: value})

    def set(self, **kwargs: Any) -> Any:
        """Set options, also such as PopTorch does not know.

        Raises:
            AttributeError: the options are frozen.
        """
        for name, value in kwargs.items():
            if self._frozen:
                raise AttributeError(f"Can't modify frozen Options (option {name})")
            self._values[name] = value
        return self

    def _freeze(self) -> None:
        """Refuse all changes from now on."""
        self.__dict__["_frozen"] = True


class PopartOptions:
    """Session options of PopART, by name."""

    def __init__(self) -> None:
        self.options: Dict[str, Any] = {}
        self.frozen = False

    def set(self, key: str, value: Any) -> Any:
        """Set a session option."""
        if self.frozen:
            raise AttributeError(f"Can't modify frozen Options (option {key})")
        self.options[key] = value
        return self


class TrainingOptions(Settings):
    """``Options.Training``."""

    def __init__(self) -> None:
        super().__init__(gradient_accumulation=1, reduction=ReductionType.Mean)

    def gradientAccumulation(self, gradient_accumulation: int) -> Any:
        return self.set(gradient_accumulation=_positive("gradient_accumulation", gradient_accumulation))

    def accumulationAndReplicationReductionType(self, reduction_type: Any) -> Any:
        assert isinstance(reduction_type, ReductionType), "reduction_type must be a poptorch.ReductionType"
        return self.set(reduction=reduction_type)


class PrecisionOptions(Settings):
    """``Options.Precision``."""

    def __init__(self) -> None:
        super().__init__(stochastic_rounding=False, partials_type=torch.float)

    def enableStochasticRounding(self, enabled: bool) -> Any:
        assert isinstance(enabled, bool), "enabled must be a bool"
        return self.set(stochastic_rounding=enabled)

    def setPartialsType(self, dtype: Any) -> Any:
        assert dtype in (torch.float, torch.half), "dtype must be torch.float or torch.half"
        return self.set(partials_type=dtype)


class Options(Settings):
    """``poptorch.Options``."""

    def __init__(self) -> None:
        super().__init__(
            device_iterations=1, replication_factor=1, output_mode=OutputMode.Default, broadcast_buffers=True,
            available_memory_proportion={}, cache_path="", use_model=False, connection_type=ConnectionType.Always,
            ipu_version=0, random_seed=None, profile_dir=None, auto_round=False,
        )  # fmt: skip
        self.__dict__.update(_training=TrainingOptions(), _precision=PrecisionOptions(), _popart=PopartOptions())

    @property
    def Training(self) -> TrainingOptions:
        return self.__dict__["_training"]

    @property
    def Precision(self) -> PrecisionOptions:
        return self.__dict__["_precision"]

    @property
    def _Popart(self) -> PopartOptions:
        return self.__dict__["_popart"]

    def _freeze(self) -> None:
        super()._freeze()
        self.Training._freeze()
        self.Precision._freeze()
        self._Popart.frozen = True

    def clone(self) -> Options:
        copied = Options()
        copied._values.update(copy.deepcopy(self._values))
        for source, target in ((self.Training, copied.Training), (self.Precision, copied.Precision)):
            target._values.update(source._values)
        copied._Popart.options.update(self._Popart.options)
        return copied

    def deviceIterations(self, device_iterations: int) -> Options:
        return self.set(device_iterations=_positive("device_iterations", device_iterations))

    def replicationFactor(self, replication_factor: int) -> Options:
        return self.set(replication_factor=_positive("replication_factor", replication_factor))

    def outputMode(self, output_mode: Any, output_return_period: Any = None) -> Options:
        assert isinstance(output_mode, OutputMode), "output_mode must be a poptorch.OutputMode"
        return self.set(output_mode=output_mode)

    def broadcastBuffers(self, broadcast_buffers: bool = True) -> Options:
        return self.set(broadcast_buffers=broadcast_buffers)

    def setAvailableMemoryProportion(self, available_memory_proportion: Dict[str, float]) -> Options:
        assert all(name.startswith("IPU") and 0 <= x <= 1 for name, x in available_memory_proportion.items())
        return self.set(available_memory_proportion=dict(available_memory_proportion))

    def enableExecutableCaching(self, path: str) -> Options:
        return self.set(cache_path=path)

    def useIpuModel(self, use_model: bool) -> Options:
        assert isinstance(use_model, bool), "use_model must be a bool"
        return self.set(use_model=use_model)

    def connectionType(self, connection_type: Any) -> Options:
        assert isinstance(connection_type, ConnectionType), "connection_type must be a poptorch.ConnectionType"
        return self.set(connection_type=connection_type)

    def useOfflineIpuTarget(self, ipu_version: int = 2) -> Options:
        return self.connectionType(ConnectionType.Never).set(ipu_version=ipu_version)

    def randomSeed(self, random_seed: int) -> Options:
        assert isinstance(random_seed, int), "random_seed must be an int"
        return self.set(random_seed=random_seed)

    def enableProfiling(self, profile_dir: Any = None) -> Options:
        return self.set(profile_dir=profile_dir)

    def autoRoundNumIPUs(self, auto_round_num_ipus: bool = True) -> Options:
        return self.set(auto_round=auto_round_num_ipus)


def _positive(name: str, value: Any) -> int:
    assert isinstance(value, int), f"{name} must be an int"
    assert value >= 1, f"{name} must be >= 1"
    return value
