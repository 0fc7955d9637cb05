// SPDX-License-Identifier: MIT
/* What ORT calls: the library's factory, a session's provider, its parts compiled and run. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <rdu/regs.h>
#include <rduc.h>
#include "provider.h"

#define PROVIDER_NAME "RDUExecutionProvider"

const OrtApi *ort;
const OrtEpApi *ort_ep;

OrtStatus *fail(OrtErrorCode code, const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return ort->CreateStatus(code, text);
}

OrtStatus *out_of_memory(void)
{
	return ort->CreateStatus(ORT_FAIL, "out of memory");
}

void say(const struct provider *p, OrtLoggingLevel level, const char *fmt, ...)
{
	char text[4096] = "rdu: ";
	OrtLoggingLevel wanted = ORT_LOGGING_LEVEL_FATAL;
	OrtStatus *status = ort->Logger_GetLoggingSeverityLevel(p->logger, &wanted);
	va_list ap;

	if (!status && level >= wanted) {
		va_start(ap, fmt);
		vsnprintf(text + strlen(text), sizeof(text) - strlen(text), fmt, ap);
		va_end(ap);
		status = ort->Logger_LogMessage(p->logger, level, text, __FILE__, __LINE__,
						__func__);
	}
	if (status)
		ort->ReleaseStatus(status);
}

/* ---- compiling --------------------------------------------------------------- */

static int set_options(struct rduc *c, const struct provider *p)
{
	int ret = rduc_set(c, "chip", p->chip);

	for (size_t i = 0; i < NUM_OPTIONS && !ret; i++)
		if (p->option[i].value)
			ret = rduc_set(c, p->option[i].name, p->option[i].value);
	return ret;
}

static int set_shape(struct rduc *c, const struct rdu_shape *s)
{
	size_t room = strlen(s->name) + 2 + s->ndim * 21, n;
	char *text = malloc(room);
	int ret;

	if (!text)
		return -ENOMEM;
	n = (size_t)snprintf(text, room, "%s=", s->name);
	for (uint32_t i = 0; i < s->ndim; i++)
		n += (size_t)snprintf(text + n, room - n, "%s%lld", i ? "," : "",
				      (long long)s->dims[i]);
	ret = rduc_set(c, "shape", text);
	free(text);
	return ret;
}

static OrtStatus *take_program(struct rduc *c, struct rdu_file **file)
{
	size_t size;
	const void *program = rduc_output(c, RDUC_PROGRAM, &size);
	OrtStatus *status = NULL;

	if (rdu_file_parse(program, size, file)) {
		status = fail(ORT_FAIL, "%s", rdu_error_text(*file));
		rdu_file_close(*file);
	}
	return status;
}

OrtStatus *compile(const struct provider *p, const struct model *m, const struct rdu_shape *shapes,
		   size_t num, bool try, struct rdu_file **file)
{
	OrtStatus *status = NULL;
	struct rduc *c;
	int ret;

	if (rduc_new(&c))
		return out_of_memory();
	ret = set_options(c, p);
	/* What is compiled at one level is at the others, too. */
	if (!ret && try)
		ret = rduc_set(c, "optimize", "0");
	for (size_t i = 0; i < num && !ret; i++)
		ret = set_shape(c, &shapes[i]);
	if (!ret)
		ret = rduc_compile(c, m->data, m->size);
	if (ret)
		status = fail(ORT_FAIL, "%s", rduc_error_text(c));
	else if (!try)
		status = take_program(c, file);
	rduc_free(c);
	return status;
}

/* ---- parts that were compiled -------------------------------------------------- */

/* Most programs of a part, for inputs of different shapes, that stay on the card. */
#define MAX_PROGRAMS 8

/* A tensor that goes in or out; without a name: none of the model's. */
struct port {
	char *name;
	enum ONNXTensorElementDataType dtype;
};

/* A part compiled for inputs of some shapes. */
struct program {
	struct program *next;
	struct rdu_file *file;
	struct rdu_program *loaded; /* NULL: not on the card */
	struct rdu_shape shape[]; /* of all inputs */
};

/* What ORT calls instead of the nodes of a part. */
struct compute {
	OrtNodeComputeInfo base;
	struct provider *p;
	struct compute *next;
	char *name;
	struct port *in, *out; /* as ORT's kernel has them */
	size_t num_in, num_out;
	struct model model; /* without data: all shapes are known, and its program is there */
	struct program *programs; /* the one that ran last stands first */
};

static void program_free(struct program *q)
{
	rdu_program_free(q->loaded);
	rdu_file_close(q->file);
	free(q);
}

static void ports_free(struct port *port, size_t num)
{
	for (size_t i = 0; port && i < num; i++)
		free(port[i].name);
	free(port);
}

static void compute_free(struct compute *c)
{
	struct compute **at = &c->p->computes;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	for (struct program *q = c->programs, *next; q; q = next) {
		next = q->next;
		program_free(q);
	}
	ports_free(c->in, c->num_in);
	ports_free(c->out, c->num_out);
	free(c->model.data);
	free(c->name);
	free(c);
}

static OrtStatus *make_ports(const OrtValueInfo *const *values, size_t num, struct port **ports)
{
	*ports = calloc(num + 1, sizeof(**ports));
	if (!*ports)
		return out_of_memory();
	for (size_t i = 0; i < num; i++) {
		const OrtTensorTypeAndShapeInfo *info;
		const char *name;

		if (!values[i])
			continue;
		TRY(ort->GetValueInfoName(values[i], &name));
		TRY(tensor_type(values[i], &info));
		TRY(ort->GetTensorElementType(info, &(*ports)[i].dtype));
		(*ports)[i].name = strdup(name);
		if (!(*ports)[i].name)
			return out_of_memory();
	}
	return NULL;
}

/* ---- programs for shapes ------------------------------------------------------- */

static bool fits(const struct compute *c, const struct program *q, const struct rdu_shape *shapes)
{
	for (size_t i = 0; i < c->num_in; i++)
		if (q->shape[i].ndim != shapes[i].ndim ||
		    memcmp(q->shape[i].dims, shapes[i].dims,
			   shapes[i].ndim * sizeof(*shapes[i].dims)))
			return false;
	return true;
}

/* Each port that has the model's type in the program, and is there, if it must be. */
static OrtStatus *check_ports(const struct port *port, size_t num, bool must, struct rdu_file *file)
{
	for (size_t i = 0; i < num; i++) {
		int at = port[i].name ? rdu_file_find_symbol(file, port[i].name) : -ENOENT;
		const struct rdu_file_symbol *s = rdu_file_get_symbol(file, (unsigned int)at);

		if (at < 0 && must)
			return fail(ORT_FAIL, "the program has no output %s", port[i].name);
		if (at >= 0 && s->dtype != (uint32_t)port[i].dtype)
			return fail(ORT_FAIL, "%s is of type %s in the program", port[i].name,
				    rdu_dtype_name(s->dtype));
	}
	return NULL;
}

static OrtStatus *add_program(struct compute *c, const struct rdu_shape *shapes)
{
	struct program *q = calloc(1, sizeof(*q) + c->num_in * sizeof(*q->shape));
	struct rdu_shape *named = calloc(c->num_in + 1, sizeof(*named));
	OrtStatus *status = q && named ? NULL : out_of_memory();
	size_t num = 0;

	if (!status) {
		memcpy(q->shape, shapes, c->num_in * sizeof(*shapes));
		for (size_t i = 0; i < c->num_in; i++)
			if (c->in[i].name && shapes[i].ndim)
				named[num++] = shapes[i];
		status = compile(c->p, &c->model, named, num, false, &q->file);
	}
	if (!status)
		status = check_ports(c->in, c->num_in, false, q->file);
	if (!status)
		status = check_ports(c->out, c->num_out, true, q->file);
	free(named);
	if (status) {
		if (q)
			program_free(q);
		return status;
	}
	q->next = c->programs;
	c->programs = q;
	return NULL;
}

/* The program for inputs of these shapes, which stands first then; made, if there is none. */
static OrtStatus *program_for(struct compute *c, const struct rdu_shape *shapes)
{
	struct program **at = &c->programs, *q;

	for (size_t num = 1; (q = *at) && !fits(c, q, shapes); num++) {
		if (num == MAX_PROGRAMS) {
			*at = q->next;
			program_free(q);
			break;
		}
		at = &q->next;
	}
	q = *at;
	if (!q)
		return add_program(c, shapes);
	*at = q->next;
	q->next = c->programs;
	c->programs = q;
	return NULL;
}

/* After a fault nothing on the context can be used: what is on it is loaded again when it runs. */
static void give_up_context(struct provider *p)
{
	for (struct compute *c = p->computes; c; c = c->next)
		for (struct program *q = c->programs; q; q = q->next) {
			rdu_program_free(q->loaded);
			q->loaded = NULL;
		}
	rdu_context_free(p->context);
	p->context = NULL;
}

static OrtStatus *load(struct provider *p, struct program *q)
{
	struct rdu_context_options options = { .size = sizeof(options), .tiles = p->tiles };
	OrtStatus *status = NULL;

	if (!p->context && rdu_context_new(p->device, &options, &p->context)) {
		status = fail(ORT_FAIL, "%s", rdu_error_text(p->context));
		rdu_context_free(p->context);
		p->context = NULL;
		return status;
	}
	if (!q->loaded && rdu_program_load(p->context, q->file, &q->loaded)) {
		status = fail(ORT_FAIL, "%s", rdu_error_text(q->loaded));
		rdu_program_free(q->loaded);
		q->loaded = NULL;
	}
	return status;
}

/* ---- a run ------------------------------------------------------------------- */

static OrtStatus *read_input(const OrtValue *value, struct rdu_tensor *t)
{
	OrtTensorTypeAndShapeInfo *info;
	OrtStatus *status;

	TRY(ort->GetTensorTypeAndShape(value, &info));
	status = shape_of(info, &t->shape);
	ort->ReleaseTensorTypeAndShapeInfo(info);
	TRY(status);
	TRY(ort->GetTensorSizeInBytes(value, &t->size));
	return ort->GetTensorData(value, (const void **)&t->data);
}

/* ORT gives memory to an output whose shape is known; others are the provider's until it is: `held`. */
static OrtStatus *make_output(const struct compute *c, OrtKernelContext *kernel, size_t i,
			      struct rdu_tensor *t, void **held)
{
	struct rdu_file *file = c->programs->file;
	int at = rdu_file_find_symbol(file, c->out[i].name);
	const struct rdu_file_symbol *s = rdu_file_get_symbol(file, (unsigned int)at);
	int64_t dims[RDU_MAX_DIMS];
	OrtValue *value;

	for (uint32_t d = 0; d < s->ndim; d++)
		dims[d] = s->dims[d];
	t->shape.name = c->out[i].name;
	t->size = rdu_symbol_size(s);
	if (rdu_file_symbol_sizes(file, (unsigned int)at) >= 0) {
		t->data = *held = malloc(t->size + 1);
		return t->data ? NULL : out_of_memory();
	}
	TRY(ort->KernelContext_GetOutput(kernel, i, dims, s->ndim, &value));
	return ort->GetTensorMutableData(value, &t->data);
}

/* The shape is known: ORT's memory takes what the run has made. */
static OrtStatus *hand_over(OrtKernelContext *kernel, size_t i, const struct rdu_tensor *t)
{
	OrtValue *value;
	size_t size;
	void *data;

	TRY(ort->KernelContext_GetOutput(kernel, i, t->shape.dims, t->shape.ndim, &value));
	TRY(ort->GetTensorMutableData(value, &data));
	TRY(ort->GetTensorSizeInBytes(value, &size));
	if (size)
		memcpy(data, t->data, size);
	return NULL;
}

/* The data of tensors without elements, where ORT gives none. */
static char no_data[8];

/* With the provider's lock; shape: room for those of all inputs, tensor: of all ports. */
static OrtStatus *run(struct compute *c, OrtKernelContext *kernel, struct rdu_shape *shape,
		      struct rdu_tensor *tensor, void **held)
{
	struct rdu_tensor *out = tensor + c->num_in;
	unsigned int num_in = 0;
	int ret;

	for (size_t i = 0; i < c->num_in; i++) {
		const OrtValue *value;

		tensor[i].shape.name = c->in[i].name;
		if (!c->in[i].name)
			continue;
		TRY(ort->KernelContext_GetInput(kernel, i, &value));
		TRY(read_input(value, &tensor[i]));
		shape[i] = tensor[i].shape;
	}
	TRY(program_for(c, shape));
	TRY(load(c->p, c->programs));
	for (size_t i = 0; i < c->num_in; i++)
		if (c->in[i].name && rdu_file_find_symbol(c->programs->file, c->in[i].name) >= 0)
			tensor[num_in++] = tensor[i];
	for (size_t i = 0; i < c->num_out; i++)
		TRY(make_output(c, kernel, i, &out[i], &held[i]));
	for (size_t i = 0; i < c->num_in + c->num_out; i++)
		if (!tensor[i].data)
			tensor[i].data = no_data;
	ret = rdu_program_run_tensors(c->programs->loaded, NULL, tensor, num_in, out,
				      (unsigned int)c->num_out, NULL);
	if (ret) {
		OrtStatus *status = fail(ORT_FAIL, "%s", rdu_error_text(c->programs->loaded));
		struct rdu_fault_info fault;

		if (rdu_context_get_fault(c->p->context, &fault))
			give_up_context(c->p);
		return status;
	}
	for (size_t i = 0; i < c->num_out; i++)
		if (held[i])
			TRY(hand_over(kernel, i, &out[i]));
	return NULL;
}

static OrtStatus *ORT_API_CALL compute_run(OrtNodeComputeInfo *info, void *state,
					   OrtKernelContext *kernel)
{
	struct compute *c = (struct compute *)info;
	struct rdu_shape *shape = calloc(c->num_in + 1, sizeof(*shape));
	struct rdu_tensor *tensor = calloc(c->num_in + c->num_out + 1, sizeof(*tensor));
	void **held = calloc(c->num_out + 1, sizeof(*held)); /* outputs whose shape a run says */
	OrtStatus *status = shape && tensor && held ? NULL : out_of_memory();

	(void)state;
	if (!status) {
		pthread_mutex_lock(&c->p->lock);
		status = run(c, kernel, shape, tensor, held);
		pthread_mutex_unlock(&c->p->lock);
	}
	for (size_t i = 0; held && i < c->num_out; i++)
		free(held[i]);
	free(held);
	free(shape);
	free(tensor);
	return status;
}

/* A state of its own has nothing: all is the provider's. */
static OrtStatus *ORT_API_CALL compute_state(OrtNodeComputeInfo *info, OrtNodeComputeContext *where,
					     void **state)
{
	(void)where;
	*state = info;
	return NULL;
}

static void ORT_API_CALL compute_state_release(OrtNodeComputeInfo *info, void *state)
{
	(void)info;
	(void)state;
}

/* ---- from ORT's graphs to parts -------------------------------------------------- */

/* The graph's own value for each of the fused node's inputs; NULL: a constant, which it has. */
static OrtStatus *graph_inputs(const OrtGraph *graph, const OrtValueInfo **values, size_t num)
{
	const OrtValueInfo **inputs;
	OrtStatus *status;
	size_t num_inputs;

	TRY(ort->Graph_GetNumInputs(graph, &num_inputs));
	inputs = calloc(num_inputs + 1, sizeof(*inputs));
	if (!inputs)
		return out_of_memory();
	status = ort->Graph_GetInputs(graph, inputs, num_inputs);
	for (size_t i = 0; i < num && !status; i++) {
		const char *name, *other;
		bool constant = true;
		size_t k = 0;

		status = ort->GetValueInfoName(values[i], &name);
		for (; k < num_inputs && !status; k++) {
			status = ort->GetValueInfoName(inputs[k], &other);
			if (!status && !strcmp(name, other))
				break;
		}
		if (k < num_inputs && !status)
			status = ort->ValueInfo_IsConstantInitializer(inputs[k], &constant);
		values[i] = constant ? NULL : inputs[k];
	}
	free(inputs);
	return status;
}

/* A part whose inputs have known shapes is compiled now, and others when they run. */
static OrtStatus *compile_now(struct compute *c, const struct part *part)
{
	struct rdu_shape *shapes = calloc(c->num_in + 1, sizeof(*shapes));
	OrtStatus *status = shapes ? NULL : out_of_memory();
	bool known = true;

	for (size_t i = 0; i < c->num_in && !status; i++)
		if (part->in[i]) {
			status = input_shape(part->in[i], &shapes[i]);
			shapes[i].name = c->in[i].name;
			/* ORT says 0 dimensions also where nothing is known. */
			known = known && shapes[i].ndim && !shape_is_open(&shapes[i]);
		}
	if (!status && known) {
		status = add_program(c, shapes);
		free(c->model.data);
		c->model.data = NULL;
	}
	free(shapes);
	return status;
}

static OrtStatus *fill_part(const OrtGraph *graph, const OrtNode *fused, struct part *part)
{
	TRY(ort->Graph_GetNumNodes(graph, &part->num_nodes));
	part->node = calloc(part->num_nodes + 1, sizeof(*part->node));
	if (!part->node)
		return out_of_memory();
	TRY(ort->Graph_GetNodes(graph, part->node, part->num_nodes));
	TRY(node_inputs(fused, &part->in, &part->num_in));
	TRY(graph_inputs(graph, part->in, part->num_in));
	return node_outputs(fused, &part->out, &part->num_out);
}

static OrtStatus *fill_compute(struct compute *c, const OrtGraph *graph, const OrtNode *fused,
			       struct part *part)
{
	const char *name;

	TRY(fill_part(graph, fused, part));
	TRY(ort->Node_GetName(fused, &name));
	c->name = strdup(name);
	if (!c->name)
		return out_of_memory();
	c->num_in = part->num_in;
	c->num_out = part->num_out;
	TRY(make_ports(part->in, part->num_in, &c->in));
	TRY(make_ports(part->out, part->num_out, &c->out));
	TRY(model_of_part(graph, part, &c->model));
	return compile_now(c, part);
}

static OrtStatus *make_compute(struct provider *p, const OrtGraph *graph, const OrtNode *fused,
			       OrtNodeComputeInfo **info)
{
	struct compute *c = calloc(1, sizeof(*c));
	struct part part = { NULL };
	OrtStatus *status;

	if (!c)
		return out_of_memory();
	c->base = (OrtNodeComputeInfo){ .ort_version_supported = API_VERSION,
					.CreateState = compute_state,
					.Compute = compute_run,
					.ReleaseState = compute_state_release };
	c->p = p;
	status = fill_compute(c, graph, fused, &part);
	free(part.node);
	free(part.in);
	free(part.out);
	if (status) {
		compute_free(c);
		return status;
	}
	c->next = p->computes;
	p->computes = c;
	*info = &c->base;
	return NULL;
}

static void ORT_API_CALL provider_release_computes(OrtEp *ep, OrtNodeComputeInfo **infos,
						   size_t num)
{
	(void)ep;
	for (size_t i = 0; i < num; i++)
		if (infos[i])
			compute_free((struct compute *)infos[i]);
}

static OrtStatus *ORT_API_CALL provider_compile(OrtEp *ep, const OrtGraph **graphs,
						const OrtNode **fused, size_t num,
						OrtNodeComputeInfo **infos, OrtNode **context_nodes)
{
	(void)context_nodes;
	for (size_t i = 0; i < num; i++) {
		OrtStatus *status =
			make_compute((struct provider *)ep, graphs[i], fused[i], &infos[i]);

		if (status) {
			provider_release_computes(ep, infos, i);
			return status;
		}
	}
	return NULL;
}

/* ---- a session's provider -------------------------------------------------------- */

static const char *ORT_API_CALL provider_name(const OrtEp *ep)
{
	(void)ep;
	return PROVIDER_NAME;
}

static void provider_free(struct provider *p)
{
	rdu_context_free(p->context);
	rdu_close(p->device);
	for (size_t i = 0; i < NUM_OPTIONS; i++)
		free(p->option[i].value);
	free(p->chip);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static OrtStatus *set_option(struct provider *p, const char *name, const char *value,
			     const char **device)
{
	if (!strcmp(name, "device")) {
		*device = value;
		return NULL;
	}
	for (size_t i = 0; i < NUM_OPTIONS; i++)
		if (!strcmp(name, p->option[i].name)) {
			p->option[i].value = strdup(value);
			return p->option[i].value ? NULL : out_of_memory();
		}
	return fail(ORT_INVALID_ARGUMENT,
		    PROVIDER_NAME " has no option %s: device, precision, optimize, tiles", name);
}

/* Those of the session's entries that are this provider's: ORT puts its name in front of them. */
static OrtStatus *set_options_of(struct provider *p, const OrtKeyValuePairs *entries,
				 const char **device)
{
	static const char prefix[] = "ep." PROVIDER_NAME ".";
	const char *const *key, *const *value;
	size_t num;

	ort->GetKeyValuePairs(entries, &key, &value, &num);
	for (size_t i = 0; i < num; i++)
		if (!strncasecmp(key[i], prefix, strlen(prefix)))
			TRY(set_option(p, key[i] + strlen(prefix), value[i], device));
	return NULL;
}

static OrtStatus *open_device(struct provider *p, const char *device)
{
	static const char model[] = "model:";

	if (rdu_open(device, &p->device))
		return fail(ORT_FAIL, "%s", rdu_error_text(p->device));
	/* A modelled card's chip may be a file. */
	if (!strncmp(device, model, strlen(model)))
		p->chip = strndup(device + strlen(model), strcspn(device + strlen(model), ","));
	else
		p->chip = strdup(rdu_device_chip(p->device)->name);
	return p->chip ? NULL : out_of_memory();
}

/* librduc says what is wrong with an option now, and not first when it compiles. */
static OrtStatus *check_options(struct provider *p)
{
	const struct rdu_chip *chip = rdu_device_chip(p->device);
	OrtStatus *status = NULL;
	struct rduc *c;

	if (rduc_new(&c))
		return out_of_memory();
	if (set_options(c, p))
		status = fail(ORT_INVALID_ARGUMENT, "%s", rduc_error_text(c));
	rduc_free(c);
	TRY(status);
	p->tiles = p->option[TILES].value ? (uint32_t)strtoul(p->option[TILES].value, NULL, 10) : 1;
	if (p->tiles > chip->tiles)
		return fail(ORT_INVALID_ARGUMENT, "tiles: %s has %u, not %u", chip->name,
			    chip->tiles, p->tiles);
	return NULL;
}

static OrtStatus *set_up(struct provider *p, const OrtSessionOptions *session)
{
	const char *device = "auto";
	OrtKeyValuePairs *entries;
	OrtStatus *status;

	TRY(ort->GetSessionOptionsConfigEntries(session, &entries));
	status = set_options_of(p, entries, &device);
	if (!status)
		status = open_device(p, device);
	if (!status)
		status = check_options(p);
	ort->ReleaseKeyValuePairs(entries);
	return status;
}

/* ---- the library's factory ------------------------------------------------------- */

static const char *ORT_API_CALL factory_name(const OrtEpFactory *factory)
{
	(void)factory;
	return PROVIDER_NAME;
}

static const char *ORT_API_CALL factory_vendor(const OrtEpFactory *factory)
{
	(void)factory;
	return "open RDU";
}

static uint32_t ORT_API_CALL factory_vendor_id(const OrtEpFactory *factory)
{
	(void)factory;
	return RDU_PCI_VENDOR;
}

static const char *ORT_API_CALL factory_version(const OrtEpFactory *factory)
{
	(void)factory;
	return RDU_VERSION ".0";
}

/* ORT lists no accelerators of this kind: the processor stands for the host that has the card. */
static OrtStatus *ORT_API_CALL factory_devices(OrtEpFactory *factory,
					       const OrtHardwareDevice *const *devices, size_t num,
					       OrtEpDevice **out, size_t max, size_t *num_out)
{
	*num_out = 0;
	for (size_t i = 0; i < num && max && !*num_out; i++)
		if (ort->HardwareDevice_Type(devices[i]) == OrtHardwareDeviceType_CPU) {
			TRY(ort_ep->CreateEpDevice(factory, devices[i], NULL, NULL, &out[0]));
			*num_out = 1;
		}
	return NULL;
}

static OrtStatus *ORT_API_CALL factory_make(OrtEpFactory *factory,
					    const OrtHardwareDevice *const *devices,
					    const OrtKeyValuePairs *const *metadata, size_t num,
					    const OrtSessionOptions *session,
					    const OrtLogger *logger, OrtEp **ep)
{
	struct provider *p = calloc(1, sizeof(*p));
	OrtStatus *status;

	(void)factory;
	(void)devices;
	(void)metadata;
	(void)num;
	if (!p)
		return out_of_memory();
	p->base = (OrtEp){ .ort_version_supported = API_VERSION,
			   .GetName = provider_name,
			   .GetCapability = choose_parts,
			   .Compile = provider_compile,
			   .ReleaseNodeComputeInfos = provider_release_computes };
	p->logger = logger;
	p->option[PRECISION].name = "precision";
	p->option[OPTIMIZE].name = "optimize";
	p->option[TILES].name = "tiles";
	pthread_mutex_init(&p->lock, NULL);
	status = set_up(p, session);
	if (status)
		provider_free(p);
	else
		*ep = &p->base;
	return status;
}

static void ORT_API_CALL factory_release_provider(OrtEpFactory *factory, OrtEp *ep)
{
	(void)factory;
	provider_free((struct provider *)ep);
}

/* Tensors stay in the host's memory: there is nothing to allocate, to copy, or to wait for. */
static OrtStatus *ORT_API_CALL factory_allocator(OrtEpFactory *factory, const OrtMemoryInfo *info,
						 const OrtKeyValuePairs *options,
						 OrtAllocator **allocator)
{
	(void)factory;
	(void)info;
	(void)options;
	*allocator = NULL;
	return NULL;
}

static void ORT_API_CALL factory_release_allocator(OrtEpFactory *factory, OrtAllocator *allocator)
{
	(void)factory;
	(void)allocator;
}

static OrtStatus *ORT_API_CALL factory_data_transfer(OrtEpFactory *factory,
						     OrtDataTransferImpl **transfer)
{
	(void)factory;
	*transfer = NULL;
	return NULL;
}

static bool ORT_API_CALL factory_is_stream_aware(const OrtEpFactory *factory)
{
	(void)factory;
	return false;
}

static OrtStatus *ORT_API_CALL factory_stream(OrtEpFactory *factory, const OrtMemoryDevice *device,
					      const OrtKeyValuePairs *options,
					      OrtSyncStreamImpl **stream)
{
	(void)factory;
	(void)device;
	(void)options;
	*stream = NULL;
	return NULL;
}

static OrtEpFactory the_factory = {
	.ort_version_supported = API_VERSION,
	.GetName = factory_name,
	.GetVendor = factory_vendor,
	.GetSupportedDevices = factory_devices,
	.CreateEp = factory_make,
	.ReleaseEp = factory_release_provider,
	.GetVendorId = factory_vendor_id,
	.GetVersion = factory_version,
	.CreateAllocator = factory_allocator,
	.ReleaseAllocator = factory_release_allocator,
	.CreateDataTransfer = factory_data_transfer,
	.IsStreamAware = factory_is_stream_aware,
	.CreateSyncStreamForDevice = factory_stream,
};

#define EXPORT __attribute__((visibility("default")))

/* The names that ORT looks for. */
EXPORT OrtStatus *CreateEpFactories(const char *name, const OrtApiBase *base,
				    const OrtLogger *logger, OrtEpFactory **factories, size_t max,
				    size_t *num);
EXPORT OrtStatus *ReleaseEpFactory(OrtEpFactory *factory);

OrtStatus *CreateEpFactories(const char *name, const OrtApiBase *base, const OrtLogger *logger,
			     OrtEpFactory **factories, size_t max, size_t *num)
{
	(void)name;
	(void)logger;
	ort = base->GetApi(API_VERSION);
	if (!ort) {
		ort = base->GetApi(1); /* it can make a status */
		return fail(ORT_FAIL, "ONNX Runtime %s is too old for this library: it takes 1.%d",
			    base->GetVersionString(), API_VERSION);
	}
	ort_ep = ort->GetEpApi();
	if (!max)
		return fail(ORT_INVALID_ARGUMENT, "there is no room for a factory");
	factories[0] = &the_factory;
	*num = 1;
	return NULL;
}

OrtStatus *ReleaseEpFactory(OrtEpFactory *factory)
{
	(void)factory;
	return NULL;
}
