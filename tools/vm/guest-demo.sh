#!/bin/sh
# SPDX-License-Identifier: MIT
# guest-demo.sh FOLDER DATA [STEPS]: the guest's part of the demonstration (see
# demo): trains FOLDER/cnn.rdu, serves the test images, leaves what they say.
set -eu
cd "$TOP"
dir=$1 data=$2 steps=${3:-}

rdu info
# What the tools say is shown and kept; a pipe would hide their exit code.
keep() {
	file=$1
	shift
	{ "$@" 2>&1 || echo "failed $?"; } | tee "$file"
	! grep -q '^failed ' "$file"
}
keep "$dir/train.txt" rdu train "$dir/cnn.rdu" --data "$data" --epochs 1 ${steps:+--steps "$steps"} \
	--save "$dir/trained.rdu" --loss-curve "$dir/loss_curve.svg"
keep "$dir/serve.txt" rdu eval "$dir/trained.rdu" --data "$data" --labels "$dir/labels.txt"
rdu trace "$dir/trained.rdu" train_step -o "$dir/timeline.json"
rdu stat
