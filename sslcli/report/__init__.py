"""What is known of a run, laid out for a reader: `sslcli report` makes a page of one, `sslcli compare` sets several
side by side.

RUN/  recipe.toml  environment.json  metrics.jsonl  evaluations/  config.json  checkpoints/  ->  RUN/report.html

Everything here reads; only `page.write` writes, and only the page.
"""
