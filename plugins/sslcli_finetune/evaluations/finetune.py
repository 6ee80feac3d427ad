"""`sslcli eval finetune`: the whole network learns labelled pictures."""

from pathlib import Path

from sslcli.disk import expand
from sslcli.errors import RunError, UserError
from sslcli.evaluation.reports import Report, share_of
from sslcli.evaluation.trial import Trial, labels_of
from sslcli_finetune.classifier import Classifier
from sslcli_finetune.evaluations.choosing import learn
from sslcli_finetune.evaluations.scores import in_top
from sslcli_finetune.evaluations.task import Task
from sslcli_finetune.evaluations.training import length_of
from sslcli_finetune.keeping import refuse_folder, timm_twin, write_classifier
from sslcli_finetune.options import FinetuneOptions
from sslcli_finetune.protocols import settings_of


def judge(options: FinetuneOptions, trial: Trial) -> Report:
    """The share of test pictures that the trained network classifies right."""
    settings = settings_of(options, options.protocol, trial.backbone.width)
    judged, task, folder = trial.judged, Task.of(trial), expand(options.keep)
    if options.keep:  # what cannot be kept is told before the training, not after it
        refuse_folder(folder)
        timm_twin(task.begin(settings, options.seed), trial.card.image_size)
    learnt = learn(task, judged.train, settings, options.seed)
    table = task.logits(learnt.classifier, judged.test)
    labels = labels_of(judged.test, table)
    if options.keep:
        keep(folder, learnt.classifier, trial)
    length = length_of(learnt.settings, len(judged.train))
    facts = {
        "train": len(judged.train),
        "test": len(labels),
        "classes": task.classes,
        "left_out": len(task.broken.paths),
        "preset": options.protocol,
        "steps": length.steps,
        "training": learnt.settings.said(warmup=length.warmup / length.steps_per_epoch),
    }
    right = in_top(table.features, labels, top=1)
    row = {**share_of("top1", right, options.seed), "top5": in_top(table.features, labels).double().mean().item()}
    return Report("finetune", trial.run, trial.subject.said, judged.said, [row], facts, shares=("top1", "top5"))


def keep(folder: Path, classifier: Classifier, trial: Trial) -> None:
    """Write the trained network; what cannot be written costs a warning, and not the numbers."""
    card, classes = trial.card, trial.judged.classes
    try:
        write_classifier(folder, classifier, classes, card.document(), card.image_size)
    except (RunError, UserError) as failure:
        trial.note(f"warning: {failure.message}")
        return
    trial.note(f"kept in {folder}: timm.create_model('local-dir:{folder}', pretrained=True)")
