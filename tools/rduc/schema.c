// SPDX-License-Identifier: MIT
/*
 * What ONNX says of its operators: since and until which opset they are, how many
 * inputs they take, which attributes they have. A node that says more than this
 * says something that the compiler doesn't know: it is refused, not passed over.
 */
#include <stdlib.h>
#include <string.h>
#include "graph.h"

/* The newest version of ONNX's operators that this table was held against. */
#define NEWEST_OPSET 25

#define AUTO_PAD "NOTSET|SAME_UPPER|SAME_LOWER|VALID"

/*
 * inputs: "1:1-1 11:1-3": one since opset 1, one to three since opset 11; no number
 * behind the dash: any.
 * attributes: "NAME:KIND", kind i: integer, b: 0 or 1, f: number, s: string (of these:
 * "s(a|b)"), I: integers, F: numbers, t: tensor, p: sparse tensor, S: strings, g: graph; then
 * "!" if it must be there ("!4": since opset 4), and "@FROM-UNTIL", opsets.
 */
static const struct schema {
	const char *op;
	int since, until; /* 0: still there */
	const char *inputs, *attributes;
} schemas[] = {
	{ "Abs", 1, 0, "1:1-1", "" },
	{ "Acos", 7, 0, "7:1-1", "" },
	{ "Acosh", 9, 0, "9:1-1", "" },
	{ "ai.onnx.preview.training::Adagrad", 1, 0, "1:5-",
	  "decay_factor:f epsilon:f norm_coefficient:f" },
	{ "ai.onnx.preview.training::Adam", 1, 0, "1:6-",
	  "alpha:f beta:f epsilon:f norm_coefficient:f norm_coefficient_post:f" },
	{ "Add", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "And", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "ArgMax", 1, 0, "1:1-1", "axis:i keepdims:b select_last_index:b@12-" },
	{ "ArgMin", 1, 0, "1:1-1", "axis:i keepdims:b select_last_index:b@12-" },
	{ "Asin", 7, 0, "7:1-1", "" },
	{ "Asinh", 9, 0, "9:1-1", "" },
	{ "Atan", 7, 0, "7:1-1", "" },
	{ "Atanh", 9, 0, "9:1-1", "" },
	{ "AffineGrid", 20, 0, "20:2-2", "align_corners:b" },
	{ "Attention", 23, 0, "23:3-6 24:3-7",
	  "is_causal:b kv_num_heads:i q_num_heads:i qk_matmul_output_mode:i scale:f softcap:f "
	  "softmax_precision:i" },
	{ "AveragePool", 1, 0, "1:1-1",
	  "auto_pad:s(" AUTO_PAD ") kernel_shape:I! pads:I "
	  "strides:I count_include_pad:b@7- ceil_mode:b@10- dilations:I@19-" },
	{ "BatchNormalization", 1, 0, "1:5-5",
	  "epsilon:f is_test:b@-6 momentum:f spatial:b@-8 training_mode:b@14-" },
	{ "Bernoulli", 15, 0, "15:1-1", "dtype:i seed:f" },
	{ "BitShift", 11, 0, "11:2-2", "direction:s(LEFT|RIGHT)!" },
	{ "BitwiseAnd", 18, 0, "18:2-2", "" },
	{ "BitwiseNot", 18, 0, "18:1-1", "" },
	{ "BitwiseOr", 18, 0, "18:2-2", "" },
	{ "BitwiseXor", 18, 0, "18:2-2", "" },
	{ "BlackmanWindow", 17, 0, "17:1-1", "output_datatype:i periodic:b" },
	{ "Cast", 1, 0, "1:1-1",
	  "to:s!@-5 to:i!@6- saturate:b@19- round_mode:s(up|down|nearest)@24-" },
	{ "CastLike", 15, 0, "15:2-2", "saturate:b@19- round_mode:s(up|down|nearest)@24-" },
	{ "Ceil", 1, 0, "1:1-1", "" },
	{ "Celu", 12, 0, "12:1-1", "alpha:f" },
	{ "CenterCropPad", 18, 0, "18:2-2", "axes:I" },
	{ "Clip", 1, 0, "1:1-1 11:1-3", "max:f@-10 min:f@-10" },
	{ "Col2Im", 18, 0, "18:3-3", "dilations:I pads:I strides:I" },
	{ "Compress", 9, 0, "9:2-2", "axis:i" },
	{ "Concat", 1, 0, "1:1-", "axis:i!4" },
	{ "ConcatFromSequence", 11, 0, "11:1-1", "axis:i! new_axis:b" },
	{ "Constant", 1, 0, "1:0-0",
	  "value:t sparse_value:p@11- value_float:f@12- value_floats:F@12- "
	  "value_int:i@12- value_ints:I@12- value_string:s@12- value_strings:S@12-" },
	{ "ConstantOfShape", 9, 0, "9:1-1", "value:t" },
	{ "Conv", 1, 0, "1:2-3",
	  "auto_pad:s(" AUTO_PAD ") dilations:I group:i "
	  "kernel_shape:I pads:I strides:I" },
	{ "ConvInteger", 10, 0, "10:2-4",
	  "auto_pad:s(" AUTO_PAD ") dilations:I group:i kernel_shape:I pads:I strides:I" },
	{ "ConvTranspose", 1, 0, "1:2-3",
	  "auto_pad:s(" AUTO_PAD ") dilations:I group:i "
	  "kernel_shape:I output_padding:I output_shape:I pads:I strides:I" },
	{ "Cos", 7, 0, "7:1-1", "" },
	{ "Cosh", 9, 0, "9:1-1", "" },
	{ "CumSum", 11, 0, "11:2-2", "exclusive:b reverse:b" },
	{ "DFT", 17, 0, "17:1-2 20:1-3", "axis:i@17-19 inverse:b onesided:b" },
	{ "DeformConv", 19, 0, "19:3-5",
	  "dilations:I group:i kernel_shape:I offset_group:i pads:I strides:I" },
	{ "DepthToSpace", 1, 0, "1:1-1", "blocksize:i! mode:s(DCR|CRD)@11-" },
	{ "DequantizeLinear", 10, 0, "10:2-3", "axis:i@13- block_size:i@21- output_dtype:i@23-" },
	{ "Det", 11, 0, "11:1-1", "" },
	{ "Div", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "Dropout", 1, 0, "1:1-1 12:1-3", "is_test:b@-6 ratio:f@-11 seed:i@12-" },
	{ "DynamicQuantizeLinear", 11, 0, "11:1-1", "" },
	{ "Einsum", 12, 0, "12:1-", "equation:s!" },
	{ "Elu", 1, 0, "1:1-1", "alpha:f" },
	{ "Equal", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "Erf", 9, 0, "9:1-1", "" },
	{ "Exp", 1, 0, "1:1-1", "" },
	{ "Expand", 8, 0, "8:2-2", "" },
	{ "EyeLike", 9, 0, "9:1-1", "dtype:i k:i" },
	{ "Flatten", 1, 0, "1:1-1", "axis:i" },
	{ "Floor", 1, 0, "1:1-1", "" },
	{ "GRU", 1, 0, "1:3-6",
	  "activation_alpha:F activation_beta:F activations:S clip:f "
	  "direction:s(forward|reverse|bidirectional) hidden_size:i layout:b@14- "
	  "linear_before_reset:b@3- output_sequence:b@-6" },
	{ "Gather", 1, 0, "1:2-2", "axis:i" },
	{ "GatherElements", 11, 0, "11:2-2", "axis:i" },
	{ "GatherND", 11, 0, "11:2-2", "batch_dims:i@12-" },
	{ "Gelu", 20, 0, "20:1-1", "approximate:s(none|tanh)" },
	{ "Gemm", 1, 0, "1:3-3 11:2-3", "alpha:f beta:f broadcast:b@-6 transA:b transB:b" },
	{ "GlobalAveragePool", 1, 0, "1:1-1", "" },
	{ "GlobalLpPool", 1, 0, "1:1-1", "p:f@-1 p:i@2-" },
	{ "GlobalMaxPool", 1, 0, "1:1-1", "" },
	{ "Greater", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "GreaterOrEqual", 12, 0, "12:2-2", "" },
	{ "GridSample", 16, 0, "16:2-2",
	  "align_corners:b mode:s(bilinear|linear|nearest|bicubic|cubic) "
	  "padding_mode:s(zeros|border|reflection)" },
	{ "GroupNormalization", 18, 0, "18:3-3", "epsilon:f num_groups:i! stash_type:i@21-" },
	{ "HammingWindow", 17, 0, "17:1-1", "output_datatype:i periodic:b" },
	{ "HannWindow", 17, 0, "17:1-1", "output_datatype:i periodic:b" },
	{ "HardSigmoid", 1, 0, "1:1-1", "alpha:f beta:f" },
	{ "Hardmax", 1, 0, "1:1-1", "axis:i" },
	{ "HardSwish", 14, 0, "14:1-1", "" },
	{ "Identity", 1, 0, "1:1-1", "" },
	{ "If", 1, 0, "1:1-1", "else_branch:g! then_branch:g!" },
	{ "InstanceNormalization", 1, 0, "1:3-3", "epsilon:f" },
	{ "IsInf", 10, 0, "10:1-1", "detect_negative:b detect_positive:b" },
	{ "IsNaN", 9, 0, "9:1-1", "" },
	{ "LRN", 1, 0, "1:1-1", "alpha:f beta:f bias:f size:i!" },
	{ "LpPool", 1, 0, "1:1-1",
	  "auto_pad:s(" AUTO_PAD
	  ") kernel_shape:I! p:f@-1 p:i@2- pads:I strides:I ceil_mode:b@18- dilations:I@18-" },
	{ "LpNormalization", 1, 0, "1:1-1", "axis:i p:i" },
	{ "LSTM", 1, 0, "1:3-8",
	  "activation_alpha:F activation_beta:F activations:S clip:f "
	  "direction:s(forward|reverse|bidirectional) hidden_size:i input_forget:b layout:b@14- "
	  "output_sequence:b@-6" },
	{ "LayerNormalization", 17, 0, "17:2-3", "axis:i epsilon:f stash_type:i" },
	{ "LeakyRelu", 1, 0, "1:1-1", "alpha:f" },
	{ "Less", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "LessOrEqual", 12, 0, "12:2-2", "" },
	{ "Loop", 1, 0, "1:3- 11:2-", "body:g!" },
	{ "Log", 1, 0, "1:1-1", "" },
	{ "LogSoftmax", 1, 0, "1:1-1", "axis:i" },
	{ "MatMul", 1, 0, "1:2-2", "" },
	{ "MatMulInteger", 10, 0, "10:2-4", "" },
	{ "Max", 1, 0, "1:1-", "" },
	{ "MaxPool", 1, 0, "1:1-1",
	  "auto_pad:s(" AUTO_PAD ") kernel_shape:I! pads:I "
	  "strides:I storage_order:b@8- ceil_mode:b@10- dilations:I@10-" },
	{ "MaxRoiPool", 1, 0, "1:2-2", "pooled_shape:I! spatial_scale:f" },
	{ "MaxUnpool", 9, 0, "9:2-3", "kernel_shape:I! pads:I strides:I" },
	{ "Mean", 1, 0, "1:1-", "" },
	{ "MeanVarianceNormalization", 9, 0, "9:1-1", "axes:I" },
	{ "MelWeightMatrix", 17, 0, "17:5-5", "output_datatype:i" },
	{ "Min", 1, 0, "1:1-", "" },
	{ "Mish", 18, 0, "18:1-1", "" },
	{ "Mod", 10, 0, "10:2-2", "fmod:b" },
	{ "ai.onnx.preview.training::Gradient", 1, 0, "1:1-", "xs:S! y:s! zs:S" },
	{ "ai.onnx.preview.training::Momentum", 1, 0, "1:5-",
	  "alpha:f! beta:f! mode:s(standard|nesterov)! norm_coefficient:f!" },
	{ "Mul", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "Multinomial", 7, 0, "7:1-1", "dtype:i sample_size:i seed:f" },
	{ "Neg", 1, 0, "1:1-1", "" },
	{ "NegativeLogLikelihoodLoss", 12, 0, "12:2-3",
	  "ignore_index:i reduction:s(none|sum|mean)" },
	{ "NonMaxSuppression", 10, 0, "10:2-5", "center_point_box:b" },
	{ "NonZero", 9, 0, "9:1-1", "" },
	{ "Not", 1, 0, "1:1-1", "" },
	{ "OneHot", 9, 0, "9:3-3", "axis:i" },
	{ "Or", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "PRelu", 1, 0, "1:2-2", "" },
	{ "Pad", 1, 0, "1:1-1 11:2-3 18:2-4",
	  "mode:s(constant|reflect|edge|wrap) paddings:I!@-1 value:f@-10 "
	  "pads:I!@2-10" },
	{ "Pow", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "QLinearConv", 10, 0, "10:8-9",
	  "auto_pad:s(" AUTO_PAD ") dilations:I group:i kernel_shape:I pads:I strides:I" },
	{ "QLinearMatMul", 10, 0, "10:8-8", "" },
	{ "QuantizeLinear", 10, 0, "10:2-3",
	  "axis:i@13- saturate:b@19- block_size:i@21- output_dtype:i@21- precision:i@23-" },
	{ "RMSNormalization", 23, 0, "23:2-2", "axis:i epsilon:f stash_type:i" },
	{ "RNN", 1, 0, "1:3-6",
	  "activation_alpha:F activation_beta:F activations:S clip:f "
	  "direction:s(forward|reverse|bidirectional) hidden_size:i layout:b@14- "
	  "output_sequence:b@-6" },
	{ "RandomNormal", 1, 0, "1:0-0", "dtype:i mean:f scale:f seed:f shape:I!" },
	{ "RandomNormalLike", 1, 0, "1:1-1", "dtype:i mean:f scale:f seed:f" },
	{ "RandomUniform", 1, 0, "1:0-0", "dtype:i high:f low:f seed:f shape:I!" },
	{ "RandomUniformLike", 1, 0, "1:1-1", "dtype:i high:f low:f seed:f" },
	{ "Range", 11, 0, "11:3-3", "" },
	{ "Reciprocal", 1, 0, "1:1-1", "" },
	{ "ReduceL1", 1, 0, "1:1-1 18:1-2", "axes:I@-17 keepdims:b noop_with_empty_axes:b@18-" },
	{ "ReduceL2", 1, 0, "1:1-1 18:1-2", "axes:I@-17 keepdims:b noop_with_empty_axes:b@18-" },
	{ "ReduceLogSum", 1, 0, "1:1-1 18:1-2",
	  "axes:I@-17 keepdims:b noop_with_empty_axes:b@18-" },
	{ "ReduceLogSumExp", 1, 0, "1:1-1 18:1-2",
	  "axes:I@-17 keepdims:b noop_with_empty_axes:b@18-" },
	{ "ReduceMax", 1, 0, "1:1-1 18:1-2", "axes:I@-17 keepdims:b noop_with_empty_axes:b@18-" },
	{ "ReduceMean", 1, 0, "1:1-1 18:1-2", "axes:I@-17 keepdims:b noop_with_empty_axes:b@18-" },
	{ "ReduceMin", 1, 0, "1:1-1 18:1-2", "axes:I@-17 keepdims:b noop_with_empty_axes:b@18-" },
	{ "ReduceProd", 1, 0, "1:1-1 18:1-2", "axes:I@-17 keepdims:b noop_with_empty_axes:b@18-" },
	{ "ReduceSum", 1, 0, "1:1-1 13:1-2", "axes:I@-12 keepdims:b noop_with_empty_axes:b@13-" },
	{ "ReduceSumSquare", 1, 0, "1:1-1 18:1-2",
	  "axes:I@-17 keepdims:b noop_with_empty_axes:b@18-" },
	{ "Relu", 1, 0, "1:1-1", "" },
	{ "Reshape", 1, 0, "1:1-1 5:2-2", "shape:I@-4 allowzero:b@14-" },
	{ "Resize", 10, 0, "10:2-2 11:3-4 13:1-4",
	  "mode:s(nearest|linear|cubic) "
	  "coordinate_transformation_mode:s(half_pixel|half_pixel_symmetric|pytorch_half_pixel|"
	  "align_corners|asymmetric|tf_half_pixel_for_nn|tf_crop_and_resize)@11- "
	  "cubic_coeff_a:f@11- exclude_outside:b@11- extrapolation_value:f@11- "
	  "nearest_mode:s(round_prefer_floor|round_prefer_ceil|floor|ceil)@11- "
	  "antialias:b@18- axes:I@18- "
	  "keep_aspect_ratio_policy:s(stretch|not_larger|not_smaller)@18-" },
	{ "ReverseSequence", 10, 0, "10:2-2", "batch_axis:i time_axis:i" },
	{ "RoiAlign", 10, 0, "10:3-3",
	  "coordinate_transformation_mode:s(half_pixel|output_half_pixel)@16- mode:s(avg|max) "
	  "output_height:i output_width:i sampling_ratio:i spatial_scale:f" },
	{ "RotaryEmbedding", 23, 0, "23:3-4", "interleaved:b num_heads:i rotary_embedding_dim:i" },
	{ "Round", 11, 0, "11:1-1", "" },
	{ "STFT", 17, 0, "17:2-4", "onesided:b" },
	{ "Scan", 8, 0, "8:2- 9:1-",
	  "body:g! num_scan_inputs:i! directions:I@-8 scan_input_axes:I@9- "
	  "scan_input_directions:I@9- scan_output_axes:I@9- scan_output_directions:I@9-" },
	{ "Scatter", 9, 10, "9:3-3", "axis:i" },
	{ "ScatterElements", 11, 0, "11:3-3", "axis:i reduction:s(none|add|mul|max|min)@16-" },
	{ "ScatterND", 11, 0, "11:3-3", "reduction:s(none|add|mul|max|min)@16-" },
	{ "Selu", 1, 0, "1:1-1", "alpha:f gamma:f" },
	{ "SequenceAt", 11, 0, "11:2-2", "" },
	{ "SequenceConstruct", 11, 0, "11:1-", "" },
	{ "SequenceEmpty", 11, 0, "11:0-0", "dtype:i" },
	{ "SequenceErase", 11, 0, "11:1-2", "" },
	{ "SequenceInsert", 11, 0, "11:2-3", "" },
	{ "SequenceLength", 11, 0, "11:1-1", "" },
	{ "Shape", 1, 0, "1:1-1", "end:i@15- start:i@15-" },
	{ "Shrink", 9, 0, "9:1-1", "bias:f lambd:f" },
	{ "Sigmoid", 1, 0, "1:1-1", "" },
	{ "Sign", 9, 0, "9:1-1", "" },
	{ "SimplifiedLayerNormalization", 1, 0, "1:2-2", "axis:i epsilon:f stash_type:i" },
	{ "Sin", 7, 0, "7:1-1", "" },
	{ "Sinh", 9, 0, "9:1-1", "" },
	{ "Size", 1, 0, "1:1-1", "" },
	{ "Slice", 1, 0, "1:1-1 10:3-5", "axes:I@-9 ends:I!@-9 starts:I!@-9" },
	{ "Softmax", 1, 0, "1:1-1", "axis:i" },
	{ "SoftmaxCrossEntropyLoss", 12, 0, "12:2-3", "ignore_index:i reduction:s(none|sum|mean)" },
	{ "Softplus", 1, 0, "1:1-1", "" },
	{ "Softsign", 1, 0, "1:1-1", "" },
	{ "SpaceToDepth", 1, 0, "1:1-1", "blocksize:i!" },
	{ "Split", 1, 0, "1:1-2 2:1-1 13:1-2", "axis:i split:I@-12 num_outputs:i@18-" },
	{ "SplitToSequence", 11, 0, "11:1-2", "axis:i keepdims:b" },
	{ "Sqrt", 1, 0, "1:1-1", "" },
	{ "Squeeze", 1, 0, "1:1-1 13:1-2", "axes:I@-12" },
	{ "Sub", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "Sum", 1, 0, "1:1-", "" },
	{ "Swish", 24, 0, "24:1-1", "alpha:f" },
	{ "Tan", 7, 0, "7:1-1", "" },
	{ "Tanh", 1, 0, "1:1-1", "" },
	{ "TensorScatter", 24, 0, "24:2-3", "axis:i mode:s(linear|circular)" },
	{ "TfIdfVectorizer", 9, 0, "9:1-1",
	  "max_gram_length:i! max_skip_count:i! min_gram_length:i! mode:s(TF|IDF|TFIDF)! "
	  "ngram_counts:I! ngram_indexes:I! pool_int64s:I pool_strings:S weights:F" },
	{ "ThresholdedRelu", 10, 0, "10:1-1", "alpha:f" },
	{ "Tile", 1, 0, "1:3-3 6:2-2", "" },
	{ "TopK", 1, 0, "1:1-1 10:2-2", "axis:i k:i!@-9 largest:b@11- sorted:b@11-" },
	{ "Transpose", 1, 0, "1:1-1", "perm:I" },
	{ "Trilu", 14, 0, "14:1-2", "upper:b" },
	{ "Unique", 11, 0, "11:1-1", "axis:i sorted:b" },
	{ "Unsqueeze", 1, 0, "1:1-1 13:2-2", "axes:I!@-12" },
	{ "Upsample", 1, 9, "1:1-1 9:2-2",
	  "height_scale:f!@-6 mode:s(nearest|linear) width_scale:f!@-6 "
	  "scales:F!@7-8" },
	{ "Where", 9, 0, "9:3-3", "" },
	{ "Xor", 1, 0, "1:2-2", "axis:i@-6 broadcast:b@-6" },
	{ "com.microsoft::Attention", 1, 0, "1:2-7",
	  "num_heads:i! unidirectional:b scale:f mask_filter_value:f do_rotary:b "
	  "qkv_hidden_sizes:I past_present_share_buffer:b rotary_embedding_dim:i" },
	{ "com.microsoft::BiasGelu", 1, 0, "1:2-2", "" },
	{ "com.microsoft::CDist", 1, 0, "1:2-2", "metric:s(euclidean|sqeuclidean)!" },
	{ "com.microsoft::DequantizeLinear", 1, 0, "1:2-3", "axis:i" },
	{ "com.microsoft::DynamicQuantizeMatMul", 1, 0, "1:3-5", "" },
	{ "com.microsoft::EmbedLayerNormalization", 1, 0, "1:7-9", "epsilon:f" },
	{ "com.microsoft::FastGelu", 1, 0, "1:1-2", "" },
	{ "com.microsoft::FusedConv", 1, 0, "1:2-4",
	  "activation:s activation_params:F auto_pad:s(" AUTO_PAD ") dilations:I group:i "
	  "kernel_shape:I pads:I strides:I" },
	{ "com.microsoft::FusedGemm", 1, 0, "1:2-3",
	  "activation:s activation_alpha:f activation_beta:f alpha:f beta:f "
	  "transA:b "
	  "transB:b" },
	{ "com.microsoft::FusedMatMul", 1, 0, "1:2-2",
	  "alpha:f transA:b transB:b transBatchA:b transBatchB:b" },
	{ "com.microsoft::Gelu", 1, 0, "1:1-1", "" },
	{ "com.microsoft::GroupQueryAttention", 1, 0, "1:7-14",
	  "num_heads:i! kv_num_heads:i! scale:f softcap:f do_rotary:b rotary_interleaved:b "
	  "local_window_size:i smooth_softmax:i qk_output:i" },
	{ "com.microsoft::MatMulIntegerToFloat", 1, 0, "1:4-7", "" },
	{ "com.microsoft::MatMulNBits", 1, 0, "1:3-6",
	  "K:i! N:i! bits:i block_size:i! accuracy_level:i" },
	{ "com.microsoft::MultiHeadAttention", 1, 0, "1:1-10",
	  "num_heads:i! unidirectional:b scale:f mask_filter_value:f" },
	{ "com.microsoft::QGemm", 1, 0, "1:6-9", "alpha:f transA:b transB:b" },
	{ "com.microsoft::QLinearAdd", 1, 0, "1:7-8", "" },
	{ "com.microsoft::QLinearAveragePool", 1, 0, "1:4-5",
	  "auto_pad:s(" AUTO_PAD
	  ") ceil_mode:b channels_last:b count_include_pad:b kernel_shape:I! "
	  "pads:I strides:I" },
	{ "com.microsoft::QLinearConcat", 1, 0, "1:5-", "axis:i!" },
	{ "com.microsoft::QLinearGlobalAveragePool", 1, 0, "1:4-5", "channels_last:b" },
	{ "com.microsoft::QLinearLeakyRelu", 1, 0, "1:4-5", "alpha:f" },
	{ "com.microsoft::QLinearMul", 1, 0, "1:7-8", "" },
	{ "com.microsoft::QLinearSigmoid", 1, 0, "1:4-5", "" },
	{ "com.microsoft::QLinearSoftmax", 1, 0, "1:4-5", "axis:i opset:i!" },
	{ "com.microsoft::QLinearWhere", 1, 0, "1:8-9", "" },
	{ "com.microsoft::QuantizeLinear", 1, 0, "1:2-3", "axis:i" },
	{ "com.microsoft::QuickGelu", 1, 0, "1:1-1", "alpha:f" },
	{ "com.microsoft::RotaryEmbedding", 1, 0, "1:4-4",
	  "interleaved:b num_heads:i rotary_embedding_dim:i scale:f is_packed_batching:b" },
	{ "com.microsoft::SkipLayerNormalization", 1, 0, "1:3-5", "epsilon:f" },
	{ "com.microsoft::SkipSimplifiedLayerNormalization", 1, 0, "1:3-4", "epsilon:f" },
	{ "com.microsoft::Trilu", 1, 0, "1:1-2", "upper:b" },
	{ "rdu::StopGradient", 1, 0, "1:1-1", "" },
};

static bool is_of(const char *known, const struct op *op)
{
	size_t n = op->domain ? strlen(op->domain) : 0;

	if (!n)
		return !strcmp(known, op->name);
	return !strncmp(known, op->domain, n) && !strncmp(known + n, "::", 2) &&
	       !strcmp(known + n + 2, op->name);
}

static const struct schema *schema_find(const struct op *op)
{
	for (size_t i = 0; i < sizeof(schemas) / sizeof(schemas[0]); i++)
		if (is_of(schemas[i].op, op))
			return &schemas[i];
	return NULL;
}

static int check_inputs(struct graph *g, const struct node *n, const struct schema *s)
{
	long min = 0, max = 0;

	for (const char *p = s->inputs; p && *p; p = strchr(p, ' ') ? strchr(p, ' ') + 1 : NULL) {
		char *end;

		if (strtol(p, &end, 10) > g->opset)
			break;
		min = strtol(end + 1, &end, 10);
		max = end[1] >= '0' && end[1] <= '9' ? strtol(end + 1, NULL, 10) : -1;
	}
	if (n->num_in < min || (max >= 0 && n->num_in > max))
		return node_error(g, n, "it has %d inputs: in opset %d it takes %ld%s%.0ld",
				  n->num_in, g->opset, min, max < 0 ? " or more" : " to ",
				  max < 0 ? 0 : max);
	return 0;
}

/* One attribute of the table. */
struct known {
	char name[40], kind;
	const char *values; /* of a string: up to ')'; NULL: any */
	int required; /* since this opset; 0: not */
	int from, until;
};

/* The next one from *p on; false at the end. */
static bool next_known(const char **p, struct known *k)
{
	const char *s = *p, *colon;

	if (!*s)
		return false;
	colon = strchr(s, ':');
	memset(k, 0, sizeof(*k));
	memcpy(k->name, s, (size_t)(colon - s));
	k->kind = colon[1];
	s = colon + 2;
	k->from = 1;
	k->until = NEWEST_OPSET;
	if (*s == '(') {
		k->values = s + 1;
		s = strchr(s, ')') + 1;
	}
	if (*s == '!') {
		k->required = (int)strtol(s + 1, (char **)&s, 10);
		k->required = k->required ? k->required : 1;
	}
	if (*s == '@') {
		long v = strtol(s + 1, (char **)&s, 10);

		/* "@-6" is until 6. */
		k->from = v > 0 ? (int)v : 1;
		if (v < 0)
			k->until = (int)-v;
		else if (s[1] >= '0' && s[1] <= '9')
			k->until = (int)strtol(s + 1, (char **)&s, 10);
		else
			s++;
	}
	*p = *s == ' ' ? s + 1 : s;
	return true;
}

static bool is_kind(const struct attr *a, char kind)
{
	switch (kind) {
	case 'i':
	case 'b':
		return a->kind == ATTR_INT;
	case 'f':
		return a->kind == ATTR_FLOAT;
	case 's':
		return a->kind == ATTR_STRING;
	/* An empty list has no type of its own in some files. */
	case 'I':
		return a->kind == ATTR_INTS || (a->kind == ATTR_FLOATS && !a->num);
	case 'F':
		return a->kind == ATTR_FLOATS || (a->kind == ATTR_INTS && !a->num);
	case 't':
		return a->kind == ATTR_TENSOR;
	case 'g':
		return a->kind == ATTR_GRAPH;
	case 'S':
		return a->kind == ATTR_STRINGS;
	}
	return true; /* sparse tensors are refused when read */
}

static bool is_value(const char *values, const char *s)
{
	size_t n = strlen(s);

	for (const char *p = values; p; p = strpbrk(p, "|)"), p = p && *p == '|' ? p + 1 : NULL)
		if (!strncmp(p, s, n) && (p[n] == '|' || p[n] == ')'))
			return true;
	return false;
}

static const char *kind_name(char kind)
{
	return kind == 'i' || kind == 'b' ? "an integer"
	       : kind == 'f'		  ? "a number"
	       : kind == 's'		  ? "a string"
	       : kind == 'I'		  ? "integers"
	       : kind == 'F'		  ? "numbers"
	       : kind == 't'		  ? "a tensor"
	       : kind == 'g'		  ? "a graph"
	       : kind == 'S'		  ? "strings"
					  : "something else";
}

static int check_attr(struct graph *g, const struct node *n, const struct schema *s,
		      const struct attr *a)
{
	const char *p = s->attributes;
	bool wrong_time = false, wrong_kind = false;
	struct known k;
	char kind = 0;

	/* Where operators once said what they overwrite. */
	if (g->opset < 6 && !strcmp(a->name, "consumed_inputs"))
		return 0;
	while (next_known(&p, &k)) {
		if (strcmp(k.name, a->name))
			continue;
		if (g->opset < k.from || g->opset > k.until) {
			wrong_time = true;
			continue;
		}
		if (!is_kind(a, k.kind)) {
			wrong_kind = true;
			kind = k.kind;
			continue;
		}
		if (k.kind == 'b' && a->i != 0 && a->i != 1)
			return node_error(g, n, "attribute '%s' is %lld, not 0 or 1", a->name,
					  (long long)a->i);
		if (k.values && !is_value(k.values, a->s))
			return node_error(g, n, "attribute '%s' is '%.40s', not one of %.*s",
					  a->name, a->s, (int)strcspn(k.values, ")"), k.values);
		return 0;
	}
	if (wrong_kind)
		return node_error(g, n, "attribute '%s' is not %s", a->name, kind_name(kind));
	if (wrong_time)
		return node_error(g, n, "attribute '%s' is not one of opset %d", a->name, g->opset);
	return node_error(g, n, "attribute '%s' is unknown", a->name);
}

int schema_check(struct graph *g, const struct node *n)
{
	const struct schema *s = schema_find(n->op);
	struct known k;
	const char *p;

	if (!s)
		return node_error(g, n, "operator not supported");
	if (g->opset < s->since || (s->until && g->opset > s->until))
		return node_error(g, n, "opset %d has no such operator: %s %d", g->opset,
				  g->opset < s->since ? "it came with" : "it ended with",
				  g->opset < s->since ? s->since : s->until);
	if (check_inputs(g, n, s))
		return -1;
	for (const struct attr *a = n->attrs; a; a = a->next)
		if (check_attr(g, n, s, a))
			return -1;
	for (p = s->attributes; next_known(&p, &k);)
		if (k.required && g->opset >= k.required && g->opset >= k.from &&
		    g->opset <= k.until && !node_attr(n, k.name))
			return node_error(g, n, "attribute '%s' is missing", k.name);
	return 0;
}

int schema_newest_opset(void)
{
	return NEWEST_OPSET;
}

int schema_check_opset(struct graph *g, int64_t version)
{
	if (version < 1 || version > NEWEST_OPSET)
		return graph_error(g,
				   "it uses opset %lld: not supported, %d is the newest that is "
				   "known here",
				   (long long)version, NEWEST_OPSET);
	g->opset = (int)version;
	return 0;
}
