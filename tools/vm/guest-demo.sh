#!/bin/sh
# SPDX-License-Identifier: MIT
# guest-demo.sh SETTINGS: the guest's part of the demonstration; see demo. What it
# leaves in $dir: trained.rdu, labels.txt, train.txt and eval.txt ("key value"
# lines), loss.csv and the pictures.
set -eu
cd "$TOP"
. "$TOP/$1" # dir batch epochs steps images
data=${data:-/usr/share/datasets/fashion-mnist}
for place in /usr/share/dataset-fashion-mnist /usr/share/datasets/fashion-mnist /usr/share/*/fashion-mnist; do
	[ ! -f "$place/t10k-images-idx3-ubyte.gz" ] || data=$place
done
echo "== the card"
rdu info
echo "== training"
rdu train "$dir/cnn.rdu" --data "$data" --epochs "$epochs" --steps "$steps" --progress always \
	--save "$dir/trained.rdu" --loss-curve "$dir/loss_curve.svg" --log "$dir/loss.csv" \
	--results "$dir/train.txt"
echo "== serving the test images with the trained weights"
rdu eval "$dir/trained.rdu" --data "$data" --count "$images" --labels "$dir/labels.txt" \
	--results "$dir/eval.txt"
echo "== one training step, event by event"
rdu trace "$dir/trained.rdu" train_step -o "$dir/timeline.json" --svg "$dir/timeline.svg"
rdu stat -i 0
