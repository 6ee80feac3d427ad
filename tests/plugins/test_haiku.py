"""Residual networks with Haiku's names, in every way that a pickle may hold them, are timm's with the same features."""

import pickle
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch
from sslcli_resnet.padding import pad_as_tensorflow
from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor

from sslcli.errors import UserError
from sslcli.nn.foreign.experiments import experiment_of
from sslcli.nn.foreign.haiku import resnet_of, timms_name
from sslcli.nn.foreign.pickles import read_foreign_pickle
from sslcli.nn.foreign.stand_ins import Name, Record
from sslcli.nn.foreign.stored_arrays import StoredArray

FIELDS = ("online_params", "target_params", "online_state", "target_state", "opt_state")
FIRST = "res_net50/~/initial_batchnorm"
BLOCK = "res_net50/~/block_group_0/~/block_0/~"
Lend = Callable[[str, str], Any]


@pytest.fixture
def lend(monkeypatch: pytest.MonkeyPatch) -> Lend:
    """`lend(module, name)`: a class or function of a library that is not here, while a test writes a pickle."""

    def call(module: str, name: str) -> Any:
        def made(*arguments: Any) -> None:
            raise AssertionError(f"{module}.{name} was called")

        made.__module__, made.__name__, made.__qualname__ = module, name, name
        if module not in sys.modules:
            parts = module.split(".")
            for end in range(1, len(parts) + 1):
                path = ".".join(parts[:end])
                monkeypatch.setitem(sys.modules, path, sys.modules.get(path, ModuleType(path)))
        monkeypatch.setattr(sys.modules[module], name, made, raising=False)
        return made

    return call


class Written:
    """Whatever is written as a call: `Written(maker, arguments)`."""

    def __init__(self, maker: Any, *arguments: Any) -> None:
        self.parts = (maker, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


class Writer(pickle.Pickler):
    """A pickler that writes some objects by a rule of its own: arrays as jax does, classes as dill does."""

    def __init__(self, file: Any, rule: Callable[[Any], Any]) -> None:
        super().__init__(file, protocol=2)
        self.rule = rule

    def reducer_override(self, value: Any) -> Any:
        return self.rule(value)


def written(path: Path, document: Any, rule: Callable[[Any], Any] = lambda value: NotImplemented) -> Path:
    """A file with a document."""
    with path.open("wb") as file:
        Writer(file, rule).dump(document)
    return path


def network_in(path: Path, wanted: str = "online", fields: tuple[str, ...] = FIELDS) -> Any:
    """The residual network in a file."""
    return resnet_of(*experiment_of(read_foreign_pickle(path), fields).network(wanted))


def as_timm(found: Any) -> Any:
    """A model of timm's with these weights, every one of them and none besides."""
    weights = found.weights
    channels = tuple(weights[f"layer{group}.0.conv1.weight"].shape[0] for group in range(1, 5))
    model = ResNet(Bottleneck, found.blocks, channels=channels, num_classes=0)
    pad_as_tensorflow(model)
    model.load_state_dict(weights, strict=True)
    return model.eval().double()


def images(side: int = 64) -> Tensor:
    """Fixed images."""
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def same_features(found: Any, network: Any, side: int = 64) -> bool:
    """Whether timm's model gives what the network gives by hand."""
    with torch.no_grad():
        return torch.allclose(as_timm(found)(images(side).double()), network.features(images(side)), atol=1e-5)


def dictionary(network: Any) -> dict[str, Any]:
    """A checkpoint whose experiment is a mapping."""
    state = {"online_params": network.params, "online_state": network.state}
    return {"experiment_state": state, "step": 7, "rng": numpy.array([0, 1], numpy.uint32)}


@pytest.mark.parametrize("protocol", range(6))
def test_a_mapping_written_in_any_protocol_has_the_features(protocol: int, tmp_path: Path, haiku_network: Any) -> None:
    network = haiku_network()
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(dictionary(network), protocol))
    assert same_features(network_in(tmp_path / "a.pkl"), network)


@pytest.mark.parametrize("side", [32, 63, 64, 96])
def test_the_padding_is_right_for_sides_that_halve_and_that_do_not(
    side: int, tmp_path: Path, haiku_network: Any
) -> None:
    network = haiku_network()
    assert same_features(network_in(written(tmp_path / "a.pkl", dictionary(network))), network, side)


def test_of_a_stack_of_devices_the_first_copy_is_taken(tmp_path: Path, haiku_network: Any, on_devices: Any) -> None:
    network = haiku_network()
    state = {"online_params": on_devices(network.params, 3), "online_state": on_devices(network.state, 3)}
    found = network_in(written(tmp_path / "a.pkl", {"experiment_state": state}))
    assert found.devices == 3
    assert same_features(found, network)


def test_haikus_own_mappings_are_read(tmp_path: Path, haiku_network: Any, lend: Lend) -> None:
    network = haiku_network()
    for kind in ("FlatMapping", "frozendict"):
        maker = lend("haiku._src.data_structures", kind)

        def wrap(modules: Any, maker: Any = maker) -> Written:
            return Written(maker, {name: Written(maker, leaves) for name, leaves in modules.items()})

        state = {"online_params": wrap(network.params), "online_state": wrap(network.state)}
        assert same_features(network_in(written(tmp_path / "a.pkl", {"experiment_state": state})), network)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("jax._src.array", "_reconstruct_array"),
        ("jax._src.device_array", "reconstruct_device_array"),
        ("jax.interpreters.xla", "_reconstruct_device_array"),
    ],
)
def test_jaxs_arrays_are_read_without_jax(
    module: str, name: str, tmp_path: Path, haiku_network: Any, lend: Lend
) -> None:
    network, maker = haiku_network(), lend(module, name)

    def rule(value: Any) -> Any:
        return (
            (maker, (*value.__reduce__(), {"weak_type": False})) if isinstance(value, numpy.ndarray) else NotImplemented
        )

    found = network_in(written(tmp_path / "a.pkl", dictionary(network), rule))
    assert same_features(found, network)


def named_tuple_state(network: Any, lend: Lend) -> tuple[Any, Any]:
    """BYOL's state as a named tuple, and its class, which lives in a module that goes again."""
    kind = namedtuple("_ByolExperimentState", FIELDS)
    kind.__module__ = "byol.byol_experiment"
    lend("byol.byol_experiment", "anything")
    setattr(sys.modules["byol.byol_experiment"], kind.__name__, kind)
    other = {"a": {"w": numpy.zeros(1)}}
    return kind(network.params, other, network.state, other, [kind(1, 2, 3, 4, 5)]), kind


def test_a_named_tuple_by_reference_is_read_by_the_fields_that_it_has(
    tmp_path: Path, haiku_network: Any, lend: Lend
) -> None:
    network = haiku_network()
    state, _ = named_tuple_state(network, lend)
    path = written(tmp_path / "a.pkl", {"experiment_state": state})
    assert same_features(network_in(path), network)
    with pytest.raises(UserError, match="named tuple of known fields"):
        network_in(path, fields=())


def test_a_named_tuple_and_arrays_as_old_dill_writes_them_are_read(
    tmp_path: Path, haiku_network: Any, lend: Lend
) -> None:
    network = haiku_network()
    create, attribute, module = (
        lend("dill._dill", name) for name in ("_create_namedtuple", "_get_attr", "_import_module")
    )
    state, kind = named_tuple_state(network, lend)

    def rule(value: Any) -> Any:
        if value is kind:
            return create, (kind.__name__, FIELDS, kind.__module__)
        if getattr(value, "__name__", "") == "_reconstruct":
            return attribute, (Written(module, "numpy.core._multiarray_umath"), "_reconstruct")
        return NotImplemented

    path = written(tmp_path / "a.pkl", {"experiment_state": state}, rule)
    assert same_features(network_in(path, fields=()), network)


def test_arrays_as_new_dill_writes_them_are_read(tmp_path: Path, haiku_network: Any, lend: Lend) -> None:
    network, create = haiku_network(), lend("dill._dill", "_create_array")

    def rule(value: Any) -> Any:
        return (create, (*value.__reduce__(), None)) if isinstance(value, numpy.ndarray) else NotImplemented

    assert same_features(network_in(written(tmp_path / "a.pkl", dictionary(network), rule)), network)


def test_half_precision_is_widened(haiku_network: Any) -> None:
    network = haiku_network()
    halves = {
        module: {name: torch.from_numpy(value).half() for name, value in leaves.items()}
        for module, leaves in network.params.items()
    }
    weights = resnet_of(halves, tensors(network.state)).weights
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32, torch.int64}


def tensors(modules: Any) -> dict[str, dict[str, Any]]:
    """The arrays of modules as tensors."""
    return {name: {leaf: torch.from_numpy(value) for leaf, value in leaves.items()} for name, leaves in modules.items()}


def test_running_statistics_are_the_average_and_not_the_hidden_value(haiku_network: Any) -> None:
    network, hidden, average = haiku_network(), 0.0, []
    for step, mean in enumerate((5.0, 7.0), start=1):  # of two batches, at decay 0.9
        hidden = 0.9 * hidden + 0.1 * mean
        average.append(hidden / (1 - 0.9**step))
    assert average == pytest.approx([5.0, 6.052632])
    assert hidden == pytest.approx(1.15)
    shape = network.params[FIRST]["scale"].shape
    leaves = {"hidden": hidden, "average": average[-1]}
    network.state[f"{FIRST}/~/mean_ema"] |= {
        name: numpy.full(shape, value, numpy.float32) for name, value in leaves.items()
    }
    weights = resnet_of(tensors(network.params), tensors(network.state)).weights
    assert torch.allclose(weights["bn1.running_mean"], torch.full((64,), 6.052632))
    assert weights["bn1.num_batches_tracked"] == 7


def test_heads_are_counted_by_module_and_left_out(haiku_network: Any, haiku_heads: Any) -> None:
    network, (params, state) = haiku_network(), haiku_heads
    found = resnet_of(tensors(network.params | params), tensors(network.state | state))
    assert found.heads == {"projector": 5, "predictor": 5, "classifier": 2}
    assert found.weights.keys() == resnet_of(tensors(network.params), tensors(network.state)).weights.keys()


@pytest.mark.parametrize(
    ("module", "leaf", "name"),
    [
        ("initial_conv", "w", "conv1.weight"),
        ("block_group_3/~/block_12/~/conv_2", "w", "layer4.12.conv3.weight"),
        ("block_group_0/~/block_0/~/shortcut_batchnorm/~/var_ema", "average", "layer1.0.downsample.1.running_var"),
        ("block_group_0/~/block_0/~/shortcut_batchnorm/~/var_ema", "hidden", ""),
        ("block_group_4/~/block_0/~/conv_0", "w", None),
        ("block_group_0/~/block_0/~/conv_3", "w", None),
        ("initial_conv", "b", None),
        ("final_batchnorm", "scale", None),
    ],
)
def test_names_are_translated_or_unknown(module: str, leaf: str, name: str | None) -> None:
    assert timms_name(module, leaf) == name


def refused(params: Any, state: Any) -> str:
    """Why a network is not taken."""
    with pytest.raises(UserError) as told:
        resnet_of(params, state)
    return told.value.message


def test_what_does_not_belong_to_a_network_is_named(haiku_network: Any) -> None:
    network = haiku_network()
    params, state = tensors(network.params), tensors(network.state)
    one = {"w": torch.zeros(1)}
    assert f"{BLOCK}/conv_9: w".removeprefix("res_net50/~/") in refused(params | {f"{BLOCK}/conv_9": one}, state)
    assert "2 modules called initial_conv" in refused(params | {"res_net50_1/~/initial_conv": one}, state)
    assert "0 modules called initial_conv: it holds a" in refused({"a": one}, {})
    assert "a holds no tensors by name" in refused(params | {"a": 3}, state)
    assert "w of initial_conv has the shape []" in refused({"a/initial_conv": {}}, {})
    assert "bn1.bias is no array, but a str" in refused(params | {FIRST: params[FIRST] | {"offset": "b"}}, state)


def test_an_array_that_cannot_be_read_is_told_by_its_name(haiku_network: Any) -> None:
    network = haiku_network()
    params = tensors(network.params)
    told = refused(params | {FIRST: params[FIRST] | {"scale": StoredArray()}}, tensors(network.state))
    assert told.startswith("bn1.weight: an array of None cannot be read")


def test_copies_of_another_number_are_told(haiku_network: Any, on_devices: Any) -> None:
    network = haiku_network()
    params, state = tensors(on_devices(network.params, 2)), tensors(on_devices(network.state, 3))
    assert "running_mean is [3, 1, 1, 1, 64], where other tensors have 2 copies" in refused(params, state)


def test_a_size_that_no_network_has_is_refused(haiku_network: Any) -> None:
    network = haiku_network()
    with pytest.raises(UserError, match=r"2\+1\+1\+2 blocks and 64 channels at first"):
        resnet_of(tensors(network.params), tensors(network.state)).size()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "it holds nothing"),
        (None, "it holds a NoneType"),
        (Record(Name("os", "system"), ()), r"it holds an object of os\.system"),
        (Record(Record(Name("a", "b"), ()), ()), "it holds an object"),
        ({"state_dict": 1}, "it holds state_dict"),
        ({"experiment_state": {}}, "neither a mapping nor a named tuple"),
        ({"experiment_state": [1]}, "neither a mapping nor a named tuple"),
    ],
)
def test_what_is_no_checkpoint_of_an_experiment_is_refused_by_what_it_holds(document: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        experiment_of(document, FIELDS)


def test_a_network_that_is_not_there_is_told_with_the_one_that_is() -> None:
    experiment = experiment_of({"experiment_state": {"target_params": {}, "target_state": {}, "step": 3}}, ())
    with pytest.raises(UserError, match="no whole online network: it holds target_params, target_state, step") as told:
        experiment.network("online")
    assert told.value.hint == "take it: --set network=target"


@pytest.mark.parametrize(
    ("step", "steps"),
    [(312784, 312784), (torch.tensor([5, 5]), 5), (None, 0), ("many", 0), (float("nan"), 0), (10**400, 0), (-1, 0)],
)
def test_steps_are_a_number_or_an_array_of_one(step: Any, steps: int) -> None:
    assert experiment_of({"experiment_state": {"a": 1}, "step": step}, ()).steps == steps


def test_the_published_steps_are_a_thousand_epochs_at_the_published_batch() -> None:
    assert experiment_of({"experiment_state": {"a": 1}, "step": 312784}, ()).epochs(4096) == 1000.0


@pytest.mark.parametrize(
    ("step", "epochs", "said"),
    [
        (312784, 1000.0, "312784 steps, 1000 epochs"),
        (0, 300.0, "300 epochs"),
        (0, 0.0, "the file does not say how long it was trained"),
    ],
)
def test_how_long_a_network_was_trained_is_said(step: int, epochs: float, said: str) -> None:
    assert experiment_of({"experiment_state": {"a": 1}, "step": step}, ()).length(epochs) == said
