#!/bin/sh
# SPDX-License-Identifier: MIT
# guest-demo.sh FOLDER DATA RATE [STEPS]: the guest's part of the demonstration (see
# demo): trains FOLDER/cnn.rdu, serves the test images, leaves in FOLDER:
# trained.rdu, labels.txt, train.txt and serve.txt ("key value" lines), loss.csv,
# loss_curve.svg, timeline.json and timeline.svg.
set -eu
cd "$TOP"
dir=$1 data=$2 rate=$3 steps=${4:-}

rdu info
echo "== training"
rdu train "$dir/cnn.rdu" --data "$data" --lr "$rate" --epochs 1 ${steps:+--steps "$steps"} --progress "${PROGRESS:-auto}" \
	--save "$dir/trained.rdu" --loss-curve "$dir/loss_curve.svg" --log "$dir/loss.csv" \
	--results "$dir/train.txt"
echo "== serving the test images with the trained weights"
rdu eval "$dir/trained.rdu" --data "$data" --labels "$dir/labels.txt" --results "$dir/serve.txt"
echo "== one training step, event by event"
rdu trace "$dir/trained.rdu" train_step -o "$dir/timeline.json" --svg "$dir/timeline.svg"
rdu stat -i 0
