"""The file that `adstilts study new` writes."""

TEMPLATE = """\
# A study: a grid of trainings, and the comparison drawn from it.
#   adstilts study plan FILE     what it takes, and what difference it can detect
#   adstilts study run FILE      does it; the same command goes on after an interruption

name: my-study
backbone: embedded          # embedded, a local folder, or a Hub id such as xlm-roberta-large
# data: hub                 # hub, sample, or a folder with the official files [$ADSTILTS_DATA]
# sources: zoo              # take the intermediate modules from the zoo; do not train them
# zoo: adapters_zoo/embedded  # the zoo's folder, if it is none of those that all commands look in

# English tasks that each train one module, once for all arms. Of one task the module can be named,
# or be trained although others come from the zoo:
#   intermediate: [squad, {task: mnli, module: embedded/mnli}, {task: qqp, module: train}]
intermediate: [squad, mnli]

# What is compared on. A target can be tested on another one's test sets too (XQuAD and MLQA learn
# from the same data). Where dev is what is tested, rates and arms are chosen on English rows of
# train that the training has not drawn. Runs are done target by target in this order: put the
# cheapest first. `items` and `train_rows` of one target go before those below.
targets:
  - xnli
  - {task: xquad, also: [{task: mlqa, split: dev}]}
  # - {task: panx, split: dev, choose_on: train}
  # - {task: tatoeba, layer: 7}         # no training: compositions as they are

# The options that are compared. Each can have seeds of its own. With `further`, more seeds of the
# target are trained on the singles that English dev ranks first, rather than on all:
#   - {arm: singles, seeds: {target: [0]}, further: {best: 2, target: [1, 2]}}
arms:
  - alone                   # no intermediate module
  - alone-longer            # the control: with the steps and rows of both stages on the target
  - singles                 # stacked on each intermediate module
  - as-is                   # each intermediate module itself, where its head fits
  - fusion-full             # AdapterFusion of all
  - fusion-lean             # the same with low-rank queries and keys
  - multitask               # one module for all intermediate tasks
  - merged                  # weights searched on 64 examples
  - uniform                 # the mean of all
  # - arrow                 # LoRAs chosen by each token's input, without training

methods: [bottleneck]       # and lora
langs: all                  # all, xtreme, xtreme-r, or a list of codes
# source_langs: [en, de]    # languages to learn the target in; each is an arm of its own
# below: [none, "lang:en", "lang:*"]  # language modules at the bottom; each is an arm of its own

# Every arm has the same optimizer steps on the same target rows.
budget:
  steps: 300
  train_rows: 4000
  intermediate_steps: 300
  intermediate_rows: 4000

# Every arm chooses its own of these, on one half of English dev; arms are chosen on the other.
rates: [1.0e-3, 3.0e-3, 1.0e-2]
seeds: {intermediate: [0], target: [0, 1, 2]}
dev_items: 1000
test_items: 500             # of every language, drawn at random; leave it out for all
head: warm                  # warm: from the module below where its head fits; or fresh

# What is asked, before anything is run.
contrasts:
  - {name: best single or fusion, first: singles, second: fusion-full, primary: true}
  - {name: best single or all tasks at once, first: singles, second: multitask, primary: true}
"""
