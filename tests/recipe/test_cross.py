"""What only several tables together can get wrong."""

from collections.abc import Callable

import pytest

from sslcli.recipe import load_recipe
from sslcli.recipe.mistakes import RecipeError

MIX = "views.mixed={augmentation = 'blend', source = 'global'}"


@pytest.mark.usefixtures("here")
class TestTogether:
    def mistake(self, *flags: str) -> str:
        with pytest.raises(RecipeError) as told:
            load_recipe("base.toml", flags)
        return told.value.message

    def test_a_loss_names_a_view_group_that_is_there(self) -> None:
        flag = "loss.0.views=globl"
        assert self.mistake(flag) == f"--set {flag}: loss.0.views names the view group 'globl', which is not there"

    def test_a_loss_reads_crops_that_are_there(self) -> None:
        assert self.mistake("views.global.crops=1") == (
            "base.toml:21: loss.1 'toy.pair' reads crop 'global:1', and 'global' has 1 crop, counted from 0"
        )

    @pytest.mark.parametrize("crop", ["global:5", "global:-1", "global:x"])
    def test_a_crop_is_a_number_within_the_group(self, crop: str) -> None:
        assert f"loss.1.crop names crop '{crop}'" in self.mistake(f"loss.1.crop={crop}")

    def test_a_loss_may_read_a_mixed_group(self) -> None:
        recipe = load_recipe("base.toml", [MIX, "loss.0.views=mixed"])
        assert list(recipe.mixed) == ["mixed"]
        assert list(recipe.document["views"]) == ["global", "mixed"]

    def test_a_mixed_group_needs_a_group_to_mix(self) -> None:
        assert self.mistake(MIX, "views.mixed.source=golbal").endswith("views.mixed.source is no view group: 'golbal'")

    def test_a_mixed_group_is_not_mixed_again(self) -> None:
        again = "views.again={augmentation = 'blend', source = 'mixed'}"
        assert "'mixed' is mixed itself" in self.mistake(MIX, again)

    def test_some_group_is_cut_from_the_picture(self) -> None:
        told = self.mistake("views.global.augmentation=blend", "views.global.source=global")
        assert "views has no group that is cut from the picture" in told

    def test_the_backbone_has_the_abilities_that_a_loss_needs(self) -> None:
        flag = "loss.0.name=toy.masked"
        told = self.mistake(flag)
        assert "loss.0 'toy.masked' needs the ability 'masking', which the backbone 'small' lacks" in told
        assert load_recipe("base.toml", [flag, "backbone.name=able"]).losses[0].name == "toy.masked"

    def test_a_routing_needs_a_backbone_with_experts(self) -> None:
        assert "routing 'round' needs the ability 'experts'" in self.mistake("routing.name=round")
        assert load_recipe("base.toml", ["routing.name=round", "backbone.name=able"]).routing is not None

    def test_a_batch_is_divisible_by_the_accumulation(self) -> None:
        told = self.mistake("train.accumulation=3")
        assert told == "base.toml:29: train.batch_size must be divisible by train.accumulation, 3; 16 is not"

    def test_losses_begin_as_in_a_run_that_is_named(self) -> None:
        flag = "train.init_losses=true"
        assert self.mistake(flag) == f"--set {flag}: train.init_losses needs init, which names nothing"
        assert load_recipe("base.toml", [flag, "init=runs/first"]).train.init_losses

    def test_the_warm_up_is_no_longer_than_the_run(self) -> None:
        flag = "optimizer.warmup_epochs=11"
        assert self.mistake(flag) == f"--set {flag}: optimizer.warmup_epochs must be at most train.epochs, 10, not 11"

    def test_what_moves_arrives_within_the_run(self) -> None:
        moving = "teacher.momentum={start = 0.9, end = 1.0, epochs = 11.0}"
        assert "teacher.momentum.epochs must be at most train.epochs, 10, not 11" in self.mistake(moving)
        load_recipe("base.toml", ["optimizer.clip={start = 3.0, end = 0.3, schedule = 'step', epochs = 11.0}"])

    def test_a_probe_names_one_set_or_two(self) -> None:
        assert "probe.data is missing" in self.mistake("probe.every_epochs=1")
        assert "probe.test is missing" in self.mistake("probe.train=demo")
        assert "cannot stand beside" in self.mistake("probe.data=demo", "probe.train=a", "probe.test=b")

    def test_an_empty_probe_switches_an_inherited_one_off(self, write: Callable[..., str]) -> None:
        write('extends = "base.toml"\n[probe]\ndata = "demo"', "probed.toml")
        off = load_recipe("probed.toml", ['probe.data=""'])
        assert off.probe is None
        assert "probe" not in off.document

    def test_mistakes_of_single_tables_do_not_hide_those_of_several(self) -> None:
        told = self.mistake("train.epochs=-1", "loss.0.views=globl", "routing.name=round")
        assert told.startswith("3 mistakes")
