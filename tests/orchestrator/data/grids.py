"""Small grids whose models and data lie on a hub."""

HUB = """\
study: probe
name: "{model}"
factors: {model: [open, gated, absent, stale]}
blocks: {all: {product: {model: all}}}
levels:
  model:
    open: {source: {hub: org/open}}
    gated: {source: {hub: org/gated}}
    absent: {source: {hub: org/absent}}
    stale: {source: {hub: org/open, revision: nowhere}}
expected_pairs: {harmless: 20}
held_out: {dataset: beavertails, preference: helpful, source: "${source}"}
source: {hub: org/pairs, revision: v0}
pipeline:
  sft:
    recipe:
      model: ${model.source}
      preferences:
        dataset: beavertails
        source: ${source}
        expected_pairs: ${expected_pairs}
        samples: 8
      max_length: 128
      training: {steps: 2, batch_size: 4}
  evaluate:
    parents: {trained: sft}
    recipe:
      model: ${model.source}
      benchmarks: [{task: preference_accuracy, preferences: ["${held_out}"]}]
"""
