/* SPDX-License-Identifier: MIT */
/*
 * An execution provider for ONNX Runtime: a library that an application registers, and whose
 * card then runs the parts of its graphs that librduc compiles. Documentation/onnxruntime.md
 * tells how it is used; the interface is that of ORT's plug-ins, onnxruntime_ep_c_api.h.
 *
 * Functions that return OrtStatus * give NULL, or a status with the text of what went wrong,
 * which the caller releases or gives to ORT.
 */
#ifndef RDU_ONNXRUNTIME_PROVIDER_H
#define RDU_ONNXRUNTIME_PROVIDER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <onnxruntime_c_api.h>
#include <rdu.h>

/* The first version that has all that is called here. */
#define API_VERSION 23

/* ORT's functions; set when it loads the library. */
extern const OrtApi *ort;
extern const OrtEpApi *ort_ep;

#define TRY(call)                         \
	do {                              \
		OrtStatus *try_ = (call); \
		if (try_)                 \
			return try_;      \
	} while (0)

__attribute__((format(printf, 2, 3))) OrtStatus *fail(OrtErrorCode code, const char *fmt, ...);
OrtStatus *out_of_memory(void);

/* Nodes of a graph that become one model, and the tensors that go in and out. */
struct part {
	const OrtNode **node;
	const OrtValueInfo **in, **out; /* NULL: an optional one that is not there */
	size_t num_nodes, num_in, num_out;
};

/* The bytes of an ONNX file. */
struct model {
	void *data;
	size_t size;
};

/**
 * model_of_part - write a part as an ONNX model, its constants in it
 * @graph: that the nodes are of
 * @m: free m->data
 */
OrtStatus *model_of_part(const OrtGraph *graph, const struct part *p, struct model *m);

/**
 * node_values - what a node reads or writes; NULL where an optional one is not there
 * @values: what its own inputs and, behind them, its subgraphs take from around; free it
 */
OrtStatus *node_inputs(const OrtNode *node, const OrtValueInfo ***values, size_t *num);
OrtStatus *node_outputs(const OrtNode *node, const OrtValueInfo ***values, size_t *num);

/**
 * tensor_type - type and shape of a value
 * @info: owned by the value
 *
 * A status, if it is no tensor.
 */
OrtStatus *tensor_type(const OrtValueInfo *value, const OrtTensorTypeAndShapeInfo **info);

/* Sizes, -1: open. shape_of() leaves the name as it is; input_shape()'s is the value's. */
OrtStatus *shape_of(const OrtTensorTypeAndShapeInfo *info, struct rdu_shape *shape);
OrtStatus *input_shape(const OrtValueInfo *value, struct rdu_shape *shape);
bool shape_is_open(const struct rdu_shape *shape);

/* Options of librduc that a session can set. */
enum { PRECISION, OPTIMIZE, TILES, NUM_OPTIONS };

struct option {
	const char *name;
	char *value; /* NULL: as librduc has it */
};

struct provider {
	OrtEp base;
	const OrtLogger *logger;
	char *chip; /* as librduc is told */
	struct option option[NUM_OPTIONS];
	uint32_t tiles; /* of the context */
	bool chosen; /* parts of the session's graph */
	/* What follows may be used by one thread at a time. */
	pthread_mutex_t lock;
	struct rdu_device *device;
	struct rdu_context *context; /* NULL: made when it is needed */
	struct compute *computes;
};

__attribute__((format(printf, 3, 4))) void say(const struct provider *p, OrtLoggingLevel level,
					       const char *fmt, ...);

/**
 * compile - compile a model for the provider's card
 * @shapes: of inputs that have open dimensions
 * @try: only find out if it can be compiled
 * @file: the program, NULL with @try; free with rdu_file_close()
 *
 * The status has librduc's reasons.
 */
OrtStatus *compile(const struct provider *p, const struct model *m, const struct rdu_shape *shapes,
		   size_t num, bool try, struct rdu_file **file);

/**
 * choose_parts - OrtEp's GetCapability: the largest parts of a graph that can be compiled
 */
OrtStatus *ORT_API_CALL choose_parts(OrtEp *ep, const OrtGraph *graph, OrtEpGraphSupportInfo *info);

#endif
