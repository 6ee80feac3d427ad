"""The options that augmentations share."""

import pytest
from pydantic import ValidationError

from sslcli.data.settings import Blur, Cropping, Erase, Photometry, RandAugment, Solarise


def mistakes(model, **table) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(table)
    return {".".join(str(part) for part in error["loc"]): error["msg"] for error in caught.value.errors()}


def test_a_number_stands_for_the_probability_of_an_operation():
    settings = Photometry.model_validate({"blur": 0.3, "grey": 0.2, "solarise": [0.0, 0.2]})
    assert settings.blur == Blur(probability=(0.3,))
    assert settings.solarise == Solarise(probability=(0.0, 0.2))
    assert settings.grey == (0.2,)


def test_what_is_written_out_reads_back_as_the_same():
    settings = Photometry.model_validate({"blur": [1.0, 0.1], "erase": {"fill": "mean"}, "jitter": 0.8})
    written = settings.model_dump(mode="json", exclude_none=True)
    assert written["blur"] == {"probability": [1.0, 0.1], "sigma": [0.1, 2.0], "form": "full"}
    assert written["jitter"]["probability"] == 0.8
    assert Photometry.model_validate(written) == settings


def test_as_many_probabilities_as_crops_are_asked_for():
    assert "3 probabilities for 2 crops" in mistakes(Cropping, crops=2, size=8, flip=[0.1, 0.2, 0.3])["flip"]


@pytest.mark.parametrize("value", ["often", [], True, None])
def test_what_is_no_probability_is_refused_in_words(value):
    assert "should be a probability" in mistakes(Photometry, grey=value)["grey"]


def test_a_probability_above_one_is_refused():
    assert mistakes(Blur, probability=1.5).keys() == {"probability.0"}


@pytest.mark.parametrize("scale", [[0.5, 0.1], [0.0, 0.5], [0.5, 1.5]])
def test_a_scale_that_is_no_range_of_shares_is_refused(scale):
    assert "scale" in mistakes(Cropping, size=8, scale=scale)


def test_an_unknown_fill_and_an_unknown_key_are_told_together():
    assert mistakes(Erase, fill="pink", colour=1).keys() == {"fill", "colour"}


def test_rand_augment_refuses_unknown_and_too_few_operations():
    assert "no operation 'spin'" in mistakes(RandAugment, names=["spin"])["names"]
    assert "2 distinct" in mistakes(RandAugment, names=["rotate"])["names"]
    assert RandAugment.model_validate({"names": ["rotate"], "distinct": False}).operations == 2


def test_editors_are_told_that_a_number_will_do():
    accepted = Photometry.model_json_schema()["$defs"]["Blur"]["anyOf"]
    assert {part["type"] for part in accepted} == {"object", "number", "array"}
