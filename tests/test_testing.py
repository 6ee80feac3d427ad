"""The fixtures for authors of plugins, and the checks: each must pass what is right and fail what is wrong."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from sslcli.api import Reads, ViewShape
from sslcli.errors import UserError
from sslcli.nn import Step
from sslcli.testing.checks import check_plugin
from sslcli.testing.recipes import tiny_document
from sslcli.testing.results import CheckResult

HEAD = '''
import numpy as np
import torch
from torch import nn
from sslcli.api import *
from sslcli.api import hookimpl
from sslcli.errors import UserError
from sslcli.nn import Backbone as Network, Features, Imported
from sslcli.nn.experts import Route
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.reports import Report
from sslcli.data.augmentation import ViewAugmentation, MixAugmentation
import sslcli.api as api


class Options({base}):
    """Options."""


@hookimpl
def sslcli_{hook}():
    yield api.{kind}("test_thing", Options, "{module}:Thing", summary="a thing"{more})


class Thing({parent}):
    """A thing."""

    def __init__(self, options, context):
        super().__init__()
        self.options, self.context = options, context
'''
LOSS = """
    def forward(self, step):
        return step.student("global").pooled.square().mean()
"""
VIEW = """
    def draw(self, rng, *, height, width, crop):
        return {"flip": int(rng.random() < 0.5), "light": rng.random()}

    def cut(self, image, draw):
        return np.array(image.resize((self.options.size,) * 2))

    def finish(self, crops, draws):
        return crops.permute(0, 3, 1, 2).float() / 255 * draws["light"].view(-1, 1, 1, 1)
"""
MIX = """
    def mix(self, images, uniform):
        share = uniform("share", 1).view(1, -1, 1, 1, 1)
        return images * share + images.flip(1) * (1 - share), {"share": share.flatten()}
"""
BACKBONE = """
    abilities = frozenset({"tokens"})
    width, depth, patch_size, prefix_tokens = 8, 1, 8, 0

    @property
    def grid(self):
        return (self.context.image_size // 8,) * 2

    @property
    def patches(self):
        if not hasattr(self, "made"):
            self.made = nn.Conv2d(3, 8, 8, stride=8)
        return self.made

    def features(self, images):
        return self.encode(self.embed(images))

    def embed(self, images):
        return self.patches(images).flatten(2).transpose(1, 2)

    def encode(self, tokens, *, keep=None, attend=None, columns=None):
        return Features(tokens, tokens, 0, tokens.mean(1))

    def last_norm(self, tokens):
        return tokens
"""
ROUTING = """
    def forward(self, tokens, columns):
        gates = tokens.float()[..., : self.options.experts].softmax(-1)
        return Route(gates, {"balance": gates.var()})
"""
IMPORTER = """
    def __new__(cls, options, document):
        inner = document.get("weights", document) if isinstance(document, dict) else {}
        if not inner or "string.weight" not in inner:
            raise UserError(f"it has no string.weight, but {list(inner)}", "is it another file?")
        return Imported(inner, {}, 0, "a string")
"""
EVALUATION = """
    def __new__(cls, options, trial):
        train, test = trial.labelled()
        share = (train.labels == 0).float().mean().item()
        return Report("half", trial.run, "a backbone", "pictures", [{"share": share}], {}, ("share",))
"""
FIGURE = """
    def __new__(cls, options, trial):
        from PIL import Image
        count = len(trial.tables([trial.judged.test])[0].features)
        return Drawing("grey", Image.new("RGB", (40, 40), "grey"), f"{count} pictures", {"count": count})
"""
KINDS = {
    "loss": ("losses", "Loss", "LossOptions", "nn.Module", "", LOSS),
    "view": ("augmentations", "Augmentation", "ViewOptions", "ViewAugmentation", "", VIEW),
    "mix": ("augmentations", "Augmentation", "MixOptions", "MixAugmentation", ", mixes=True", MIX),
    "backbone": ("backbones", "Backbone", "BackboneOptions", "Network", ", abilities=('tokens',)", BACKBONE),
    "routing": ("routings", "Routing", "RoutingOptions", "nn.Module", "", ROUTING),
    "importer": ("importers", "Importer", "api.Options", "object", "", IMPORTER),
    "evaluation": ("evaluations", "Evaluation", "EvaluationOptions", "object", "", EVALUATION),
    "figure": ("figures", "Figure", "FigureOptions", "object", "", FIGURE),
}

Check = Callable[..., dict[str, CheckResult]]


@pytest.fixture
def check(tmp_path: Path, fresh_registry: None) -> Check:
    """`check("loss", (old, new))`: the results by name of a plugin with one thing changed in its source."""

    def checked(kind: str, change: tuple[str, str] = ("", "")) -> dict[str, CheckResult]:
        hook, record, base, parent, more, body = KINDS[kind]
        source = (
            HEAD.format(hook=hook, kind=record, base=base, parent=parent, more=more, module="test_thing_file") + body
        )
        assert change[0] in source
        path = tmp_path / "test_thing_file.py"
        path.write_text(source.replace(*change) if change[0] else source)
        return {result.check: result for result in check_plugin(path, train=False)}

    return checked


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_that_keeps_its_contract_passes_every_check(check: Check, kind: str) -> None:
    assert [result for result in check(kind).values() if result.outcome != "passed"] == []


@pytest.mark.parametrize(
    ("kind", "change", "failing", "detail"),
    [
        ("loss", (', summary="a thing"', ""), "says what it is for", "the record has no summary"),
        ("loss", ('"""Options."""', "pass"), "says what it is for", "Options has no docstring"),
        ("loss", ("_file:Thing", "_file:Thong"), "has code that can be called", "has no 'Thong'"),
        (
            "loss",
            ('    """Options."""', '    """O."""\n    k: int'),
            "has options with defaults or examples",
            "Field requ",
        ),
        ("loss", (".mean()", ".mean(-1)"), "gives a finite scalar", "a tensor of shape (2, 6), not a scalar"),
        ("loss", (".mean()", ".mean().log() / 0"), "gives a finite scalar", "on random images"),
        ("loss", (".pooled", ".pooled.detach()"), "gives finite gradients to the backbone", "does not require grad"),
        ("loss", ("return step", "step.images('global').zero_(); return step"), "leaves the step as it was", "global"),
        (
            "loss",
            ("return step", "step.log('a', torch.ones(2)); return step"),
            "logs numbers",
            "more than a number as a",
        ),
        (
            "view",
            ("rng.random() < 0.5", "np.random.random() < 0.5"),
            "draws the same for the same key",
            "no other source",
        ),
        (
            "view",
            ('"light": rng', "**({'odd': 1} if width == 5 else {}), \"light\": rng"),
            "draws the same keys and shapes for every picture",
            "draws differ in keys",
        ),
        ("view", ("np.array(image", "np.float32(image"), "cuts square uint8 crops", "a crop is float32, not uint8"),
        ("view", (".size,) * 2", ".size, 9)"), "cuts square uint8 crops", "(9, 16, 3), not (16, 16, 3)"),
        (
            "view",
            ("        return np.array", "        image.putpixel((0, 0), (1, 2, 3)); return np.array"),
            "leaves the picture as it was",
            "`cut` changes the picture",
        ),
        ("view", (".permute(0, 3, 1, 2)", ""), "finishes to normalised images", "(4, 16, 16, 3), not (4, 3, 16, 16)"),
        (
            "view",
            (
                "return crops.permute(0, 3, 1, 2).float()",
                "return crops.permute(0, 3, 1, 2).float() - crops.float().mean()",
            ),
            "finishes each image apart from its batch",
            "depends on its batch",
        ),
        (
            "view",
            ("return crops.p", "draws['light'].add_(1); return crops.p"),
            "leaves crops and draws as they were",
            "place",
        ),
        ("mix", ('uniform("share", 1)', "torch.rand(4)"), "mixes the same for the same samples", "draw all chance"),
        ("mix", ("return images *", "images.mul_(0.5); return images *"), "leaves its source as it was", "changes the"),
        (
            "mix",
            ("images * share +", "(images * share)[..., 1:], {}; return"),
            "mixes to images of the same size",
            "mixed images",
        ),
        ("backbone", ("frozenset({", "frozenset({'masking', "), "has the abilities it offers", "['masking', 'tokens']"),
        ("backbone", ("width, depth", "width, deep"), "tells its depth and patch size", "depth is None"),
        ("backbone", ("= 8, 1", "= 9, 1"), "gives features of the shape it promises", "(2, 16, 8), not (2, 16, 9)"),
        (
            "backbone",
            ("tokens.mean(1)", "tokens.mean(1).detach() / 0"),
            "gives finite features and gradients",
            "not finite",
        ),
        ("backbone", ("tokens.mean(1))", "torch.rand(len(tokens), 8))"), "gives the same features twice", "differ"),
        (
            "backbone",
            ("tokens.mean(1)", "tokens.mean(1) + tokens.mean()"),
            "mixes images of a batch only where it says so",
            "mixes_batch = True",
        ),
        (
            "backbone",
            ("return self.encode(", "return self.encode(2 * "),
            "encodes tokens as it encodes images",
            "differs",
        ),
        ("routing", ("return Route(gates, ", "return (gates, "), "returns a route", "returns a tuple"),
        (
            "routing",
            ("Route(gates,", "Route(gates[:, 0],"),
            "gives a gate for every token and expert",
            "(4, 8), not (4, 6, 8)",
        ),
        ("routing", ("Route(gates,", "Route(-gates,"), "gives finite gates that are not negative", "negative"),
        ("routing", ("Route(gates,", "Route(0 * gates,"), "sends every token somewhere", "goes to no expert"),
        ("routing", (".float()", ""), "keeps full precision", "gates are"),
        ("routing", ("gates.var()", "gates.log().var(0)"), "gives losses that are finite scalars", "no scalar"),
        ("importer", ("if not inner or", "if inner and"), "refuses an empty document", "{} is taken, and gives an Imp"),
        ("importer", (" if isinstance(document, dict) else {}", ""), "refuses what has no names", "ends in Attribute"),
        ("importer", ("raise UserError", "raise ValueError"), "refuses words and numbers", "ends in ValueError"),
        (
            "importer",
            (' or "string.weight" not in inner', ""),
            "refuses tensors of another network",
            "zither.string.weight",
        ),
        (
            "importer",
            ("but {list(inner)}", "sorry"),
            "says what it found in a document that it refuses",
            "names nothing of the file: 'it has no string.weight, sorry'",
        ),
        (
            "importer",
            ("raise UserError", "document.clear(); raise UserError"),
            "leaves the document as it was",
            "changes the document",
        ),
        ("evaluation", ("return Report(", "return ("), "returns a report", "returns a tuple"),
        ("evaluation", ('[{"share": share}]', "[]"), "finds something", "has no results"),
        ("evaluation", (".item()", ""), "gives plain finite numbers", "no plain data"),
        ("evaluation", ("share = (", "share = float('nan') * ("), "gives plain finite numbers", "not finite"),
        ("evaluation", (".mean().item()", ".sum().item()"), "names shares that lie between 0 and 1", "['share'] is"),
        ("evaluation", ("share = (", "share = torch.rand(()).item() * ("), "finds the same twice", "different numbers"),
        (
            "evaluation",
            ("train, test", "trial.run == 'pixels' and 1 / 0; train, test"),
            "judges pixels or refuses them in words",
            "division by zero",
        ),
        ("figure", ("return Drawing(", "return ("), "returns a drawing", "returns a tuple"),
        ("figure", ('f"{count} pictures"', '""'), "says what is seen", "title or caption say nothing"),
        ("figure", ('{"count": count}', '{"count": torch.ones(1)}'), "says what is seen", "no plain data"),
        ("figure", ("(40, 40)", "(1, 1)"), "can be written", "its PNG is empty"),
        ("figure", ('"count": count', '"count": torch.rand(()).item()'), "draws the same twice", "different numbers"),
        (
            "figure",
            ("count = len", "trial.run == 'pixels' and 1 / 0; count = len"),
            "refuses pixels in words",
            "division by zero",
        ),
    ],
)
def test_a_plugin_that_breaks_its_contract_fails_the_check(
    check: Check, kind: str, change: tuple[str, str], failing: str, detail: str
) -> None:
    result = check(kind, change)[failing]
    assert result.outcome == "failed"
    assert detail in result.detail


def test_a_loss_that_asks_for_what_it_does_not_read_fails(check: Check) -> None:
    result = check("loss", ('"global"', '"local"'))["gives a finite scalar"]
    assert "which no loss reads" in result.detail


def test_a_check_that_cannot_be_made_is_skipped_with_the_reason(check: Check) -> None:
    result = check("loss", ("return step", "step.plan('mixed'); return step"))["gives a finite scalar"]
    assert (result.outcome, "asks for the plan of 'mixed'" in result.detail) == ("skipped", True)


def test_an_option_without_a_default_takes_its_example(check: Check) -> None:
    example = '    """O."""\n    k: int = __import__("pydantic").Field(examples=[3])'
    assert check("loss", ('    """Options."""', example))["gives a finite scalar"].outcome == "passed"


def test_a_plugin_is_found_by_its_name_or_by_what_it_offers() -> None:
    assert check_plugin("simclr", train=False)[0].subject == "plugin 'simclr'"
    assert check_plugin("multicrop", train=False)[1].subject == "augmentation 'multicrop'"


def test_an_unknown_plugin_is_told_with_what_may_be_meant() -> None:
    with pytest.raises(UserError, match="no plugin is called 'simcrl'") as told:
        check_plugin("simcrl")
    assert told.value.hint == "did you mean 'simclr'?"


@pytest.mark.slow
def test_a_plugin_that_does_not_train_fails_the_last_check(tmp_path: Path, fresh_registry: None) -> None:
    source = HEAD.format(
        hook="losses", kind="Loss", base="LossOptions", parent="nn.Module", more="", module="test_untrainable"
    )
    path = tmp_path / "test_untrainable.py"
    fails = "        if len(step.column('index')) == 8: raise ValueError('eight is too many')\n"
    path.write_text(source + LOSS.replace("        return", f"{fails}        return"))
    result = check_plugin(path)[-1]
    assert (result.check, result.outcome) == ("trains two steps", "failed")
    assert "eight is too many" in result.detail


def test_the_fixtures_cost_no_torch() -> None:
    code = "import sys, sslcli.testing.fixtures; print(*({'torch', 'numpy', 'PIL', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_the_picture_folder_holds_two_dozen_small_pictures_in_two_classes(picture_folder: Path) -> None:
    paths = sorted(picture_folder.rglob("*.png"))
    assert len(paths) == 24
    assert {path.parent.name for path in paths} == {"ellipse", "rectangle"}
    assert all(max(Image.open(path).size) <= 40 for path in paths)


def test_the_tiny_recipe_takes_changes_and_is_a_recipe(tiny_recipe: Callable[..., Path]) -> None:
    from sslcli.recipe import load_recipe

    recipe = load_recipe(tiny_recipe(train={"seed": 7}, loss=[{"name": "simclr", "temperature": 0.5}]))
    assert (recipe.train.seed, recipe.train.batch_size) == (7, 8)
    assert recipe.losses[0].options.temperature == 0.5


def test_a_change_that_names_another_plugin_replaces_the_table() -> None:
    document = tiny_document("demo", backbone={"name": "resnet"})
    assert document["backbone"] == {"name": "resnet"}
    assert tiny_document("demo", backbone={"depth": 3})["backbone"]["width"] == 32


def test_run_sslcli_gives_exit_code_and_output(run_sslcli: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
    done = run_sslcli("plugins", "show", "nothing-like-it")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no plugin offers 'nothing-like-it'")


def test_make_step_gives_features_of_every_view_with_gradient_for_the_student_only(
    make_step: Callable[..., Step],
) -> None:
    step = make_step({"global": ViewShape(2, 16), "local": ViewShape(3, 8)})
    assert step.student("local").pooled.shape == (3, 6, 32)
    assert step.student("global").pooled.requires_grad
    assert not step.teacher("global").pooled.requires_grad


def test_make_step_is_the_same_for_the_same_seed(make_step: Callable[..., Step]) -> None:
    first, second, other = make_step(), make_step(), make_step(seed=1)
    assert torch.equal(first.student("global").tokens, second.student("global").tokens)
    assert not torch.equal(first.images("global"), other.images("global"))


def test_make_step_refuses_what_the_loss_does_not_read(make_step: Callable[..., Step]) -> None:
    step = make_step(reads=Reads(student=("global:0",)))
    assert step.student("global:0").pooled.shape == (6, 32)
    with pytest.raises(UserError, match="which no loss reads"):
        step.teacher("global")
