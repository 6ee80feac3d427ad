"""Judgements of a backbone that is trained further, on labelled pictures: on all, on few, on many sets."""

from sslcli.api import Evaluation, Offers, hookimpl
from sslcli_finetune.options import FinetuneOptions, SemiOptions, TransferOptions


@hookimpl
def sslcli_evaluations() -> Offers:
    """`finetune`, `semi`, `transfer`."""
    yield Evaluation(
        "finetune",
        FinetuneOptions,
        "sslcli_finetune.evaluations.finetune:judge",
        summary="the whole network is trained on labelled pictures",
        needs="network",
    )
    yield Evaluation(
        "semi",
        SemiOptions,
        "sslcli_finetune.evaluations.semi:judge",
        summary="classes are learnt from a small share of the labelled pictures",
        needs="network",
    )
    yield Evaluation(
        "transfer",
        TransferOptions,
        "sslcli_finetune.evaluations.transfer:judge",
        summary="many sets of pictures, one table and the mean",
        paper="arXiv:1805.08974",
        needs="network",
        sets="many",
    )
