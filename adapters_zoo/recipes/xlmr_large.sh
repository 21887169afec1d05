#!/bin/sh
# The zoo of adapters_zoo/ on XLM-R Large, command by command. From the root of the repository:
#
#   OWNER=someone CCGBANK=/folder/of/ccgbank sh adapters_zoo/recipes/xlmr_large.sh
#
# Data comes from the Hub, or from the folder in ADSTILTS_DATA; CCGbank is not on the Hub (without
# it leave out the lines with "ccg"). With several GPUs put `torchrun --nproc_per_node N -m
# adapter_stilts` in place of `adstilts`. A line that was interrupted continues with --resume.
set -eu

# Nine bottleneck adapters
adstilts train-adapter anli-plus --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter mnli --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter qqp --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter squad --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter squad-v2 --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter hellaswag --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter ccg --backbone xlm-roberta-large --data "$CCGBANK" --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter cosmos-qa --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter commonsense-qa --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml

# Nine LoRAs
adstilts train-adapter anli-plus --method lora --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter mnli --method lora --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter qqp --method lora --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter squad --method lora --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter squad-v2 --method lora --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter hellaswag --method lora --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter ccg --method lora --backbone xlm-roberta-large --data "$CCGBANK" --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter cosmos-qa --method lora --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml
adstilts train-adapter commonsense-qa --method lora --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml

# One module for all but CCGbank, which lies elsewhere (--tasks all, if it is in ADSTILTS_DATA)
adstilts train-multitask --tasks anli-plus,mnli,qqp,squad,squad-v2,hellaswag,cosmos-qa,commonsense-qa --backbone xlm-roberta-large --recipe adapters_zoo/recipes/xlmr_large.yaml

# Fusions of the nine
adstilts fuse xlm-roberta-large/anli-plus xlm-roberta-large/mnli xlm-roberta-large/qqp xlm-roberta-large/squad xlm-roberta-large/squad-v2 xlm-roberta-large/hellaswag xlm-roberta-large/ccg xlm-roberta-large/cosmos-qa xlm-roberta-large/commonsense-qa --target tydiqa --kind lean --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/tydiqa-fusion-lean
adstilts fuse xlm-roberta-large/anli-plus xlm-roberta-large/mnli xlm-roberta-large/qqp xlm-roberta-large/squad xlm-roberta-large/squad-v2 xlm-roberta-large/hellaswag xlm-roberta-large/ccg xlm-roberta-large/cosmos-qa xlm-roberta-large/commonsense-qa --target xnli --kind lean --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/xnli-fusion-lean
adstilts fuse xlm-roberta-large/anli-plus xlm-roberta-large/mnli xlm-roberta-large/qqp xlm-roberta-large/squad xlm-roberta-large/squad-v2 xlm-roberta-large/hellaswag xlm-roberta-large/ccg xlm-roberta-large/cosmos-qa xlm-roberta-large/commonsense-qa --target xcopa --kind lean --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/xcopa-fusion-lean

# Targets on top of the intermediate task most like them
adstilts train-target xnli --on xlm-roberta-large/anli-plus --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/xnli-on-anli-plus
adstilts train-target pawsx --on xlm-roberta-large/qqp --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/pawsx-on-qqp
adstilts train-target udpos --on xlm-roberta-large/ccg --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/udpos-on-ccg
adstilts train-target panx --on xlm-roberta-large/ccg --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/panx-on-ccg
adstilts train-target xquad --on xlm-roberta-large/squad-v2 --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/xquad-on-squad-v2
adstilts train-target mlqa --on xlm-roberta-large/squad-v2 --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/mlqa-on-squad-v2
adstilts train-target tydiqa --on xlm-roberta-large/squad --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/tydiqa-on-squad
adstilts train-target xcopa --on xlm-roberta-large/commonsense-qa --recipe adapters_zoo/recipes/xlmr_large.yaml --out zoo/xlm-roberta-large/xcopa-on-commonsense-qa

# Every target in every language
adstilts evaluate xnli --with xlm-roberta-large/xnli-on-anli-plus --langs all
adstilts evaluate pawsx --with xlm-roberta-large/pawsx-on-qqp --langs all
adstilts evaluate udpos --with xlm-roberta-large/udpos-on-ccg --langs all
adstilts evaluate panx --with xlm-roberta-large/panx-on-ccg --langs all
adstilts evaluate xquad --with xlm-roberta-large/xquad-on-squad-v2 --langs all
adstilts evaluate mlqa --with xlm-roberta-large/mlqa-on-squad-v2 --langs all
adstilts evaluate tydiqa --with xlm-roberta-large/tydiqa-on-squad --langs all
adstilts evaluate xcopa --with xlm-roberta-large/xcopa-on-commonsense-qa --langs all
adstilts evaluate tydiqa --with xlm-roberta-large/tydiqa-fusion-lean --langs all
adstilts evaluate xnli --with xlm-roberta-large/xnli-fusion-lean --langs all
adstilts evaluate xcopa --with xlm-roberta-large/xcopa-fusion-lean --langs all
adstilts evaluate tatoeba --with none --with xlm-roberta-large/mnli
adstilts evaluate bucc2018 --with none --with xlm-roberta-large/mnli

# To the Hub, each with its card
adstilts push xlm-roberta-large/anli-plus --to "$OWNER/xlmr-large-anli-plus"
adstilts push xlm-roberta-large/mnli --to "$OWNER/xlmr-large-mnli"
adstilts push xlm-roberta-large/qqp --to "$OWNER/xlmr-large-qqp"
adstilts push xlm-roberta-large/squad --to "$OWNER/xlmr-large-squad"
adstilts push xlm-roberta-large/squad-v2 --to "$OWNER/xlmr-large-squad-v2"
adstilts push xlm-roberta-large/hellaswag --to "$OWNER/xlmr-large-hellaswag"
adstilts push xlm-roberta-large/ccg --to "$OWNER/xlmr-large-ccg"
adstilts push xlm-roberta-large/cosmos-qa --to "$OWNER/xlmr-large-cosmos-qa"
adstilts push xlm-roberta-large/commonsense-qa --to "$OWNER/xlmr-large-commonsense-qa"
adstilts push xlm-roberta-large/anli-plus-lora --to "$OWNER/xlmr-large-anli-plus-lora"
adstilts push xlm-roberta-large/mnli-lora --to "$OWNER/xlmr-large-mnli-lora"
adstilts push xlm-roberta-large/qqp-lora --to "$OWNER/xlmr-large-qqp-lora"
adstilts push xlm-roberta-large/squad-lora --to "$OWNER/xlmr-large-squad-lora"
adstilts push xlm-roberta-large/squad-v2-lora --to "$OWNER/xlmr-large-squad-v2-lora"
adstilts push xlm-roberta-large/hellaswag-lora --to "$OWNER/xlmr-large-hellaswag-lora"
adstilts push xlm-roberta-large/ccg-lora --to "$OWNER/xlmr-large-ccg-lora"
adstilts push xlm-roberta-large/cosmos-qa-lora --to "$OWNER/xlmr-large-cosmos-qa-lora"
adstilts push xlm-roberta-large/commonsense-qa-lora --to "$OWNER/xlmr-large-commonsense-qa-lora"
adstilts push xlm-roberta-large/multitask --to "$OWNER/xlmr-large-multitask"
adstilts push xlm-roberta-large/tydiqa-fusion-lean --to "$OWNER/xlmr-large-tydiqa-fusion-lean"
adstilts push xlm-roberta-large/xnli-fusion-lean --to "$OWNER/xlmr-large-xnli-fusion-lean"
adstilts push xlm-roberta-large/xcopa-fusion-lean --to "$OWNER/xlmr-large-xcopa-fusion-lean"
adstilts push xlm-roberta-large/xnli-on-anli-plus --to "$OWNER/xlmr-large-xnli-on-anli-plus"
adstilts push xlm-roberta-large/pawsx-on-qqp --to "$OWNER/xlmr-large-pawsx-on-qqp"
adstilts push xlm-roberta-large/udpos-on-ccg --to "$OWNER/xlmr-large-udpos-on-ccg"
adstilts push xlm-roberta-large/panx-on-ccg --to "$OWNER/xlmr-large-panx-on-ccg"
adstilts push xlm-roberta-large/xquad-on-squad-v2 --to "$OWNER/xlmr-large-xquad-on-squad-v2"
adstilts push xlm-roberta-large/mlqa-on-squad-v2 --to "$OWNER/xlmr-large-mlqa-on-squad-v2"
adstilts push xlm-roberta-large/tydiqa-on-squad --to "$OWNER/xlmr-large-tydiqa-on-squad"
adstilts push xlm-roberta-large/xcopa-on-commonsense-qa --to "$OWNER/xlmr-large-xcopa-on-commonsense-qa"
