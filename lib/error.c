/* SPDX-License-Identifier: MIT */
/* Error texts, and the names of faults and configuration errors. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backend.h"

int lr_fail(struct rdu_object *obj, int code, const char *format, ...)
{
	char text[sizeof(obj->text)]; /* arguments may point into the old text */
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(obj->text, text, sizeof(text));
	obj->code = code;
	return code;
}

int lr_fail_as(struct rdu_object *obj, const struct rdu_object *other)
{
	if (obj != other)
		lr_fail(obj, other->code, "%s", other->text);
	return other->code;
}

void lr_names_add(struct lr_names *names, const char *name)
{
	size_t most = sizeof(names->text) - sizeof(", and 4294967295 more");

	if (!names->left && names->at + strlen(name) + 2 <= most)
		names->at += sprintf(names->text + names->at, "%s%s", names->at ? ", " : "", name);
	else
		sprintf(names->text + names->at, "%s%u more", names->at ? ", and " : "",
			++names->left);
}

/* ---- which process -------------------------------------------------------- */

static pthread_once_t process_once = PTHREAD_ONCE_INIT;
static uint32_t *process_mark; /* of memory that fork() gives to the child as zeros */
static uint32_t process_last;

static void process_init(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	if (madvise(page, 4096, MADV_WIPEONFORK))
		munmap(page, 4096);
	else
		process_mark = page;
}

/* Another number in a process than in all it came from by fork(). A process's own number
 * would not do: it is used again, and is 1 in each PID namespace. */
static uint32_t process_number(void)
{
	uint32_t zero = 0, number;

	pthread_once(&process_once, process_init);
	if (!process_mark)
		return getpid();
	number = __atomic_load_n(process_mark, __ATOMIC_RELAXED);
	if (number)
		return number;
	number = __atomic_add_fetch(&process_last, 1, __ATOMIC_RELAXED);
	if (__atomic_compare_exchange_n(process_mark, &zero, number, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED))
		return number;
	return zero; /* another thread was first */
}

void *lr_new(size_t size)
{
	struct rdu_object *obj = calloc(1, size);

	if (obj)
		obj->process = process_number();
	return obj;
}

bool lr_foreign(const struct rdu_object *obj)
{
	return obj->process && obj->process != process_number();
}

int lr_check(struct rdu_object *obj)
{
	if (!obj)
		return -EINVAL;
	/* Its text still says why it could not be made. */
	if (obj->dead)
		return -EINVAL;
	if (lr_foreign(obj))
		return lr_fail(
			obj, -ECHILD,
			"this process did not make the object, but a process it came from by "
			"fork(): only that one can use it; open the card anew here");
	return 0;
}

int lr_check_base(struct rdu_object *obj, struct rdu_object *base, const char *what)
{
	int ret = lr_check(base);

	if (ret == -ECHILD)
		return lr_fail_as(obj, base);
	return ret ? lr_fail(obj, -EINVAL, "the %s could not be made", what) : 0;
}

/* ---- texts ------------------------------------------------------------------ */

RDU_EXPORT const char *rdu_error_text(const void *object)
{
	const struct rdu_object *obj = object;

	return obj ? obj->text : "no object: out of memory, or it was never made";
}

RDU_EXPORT const char *rdu_version(void)
{
	return RDU_VERSION;
}

RDU_EXPORT const char *rdu_fault_name(uint32_t code)
{
	switch (code) {
#define FAULT(n, v, t) \
	case v:        \
		return #n;
		RDU_FAULTS(FAULT)
#undef FAULT
	}
	return "UNKNOWN";
}

RDU_EXPORT const char *rdu_fault_meaning(uint32_t code)
{
	switch (code) {
#define FAULT(n, v, t) \
	case v:        \
		return t;
		RDU_FAULTS(FAULT)
#undef FAULT
	}
	return "a fault this library does not know";
}

RDU_EXPORT const char *rdu_config_error_name(uint32_t error)
{
	switch (error) {
#define CFG_ERROR(n, v, t) \
	case v:            \
		return #n;
		RDU_CFG_ERRORS(CFG_ERROR)
#undef CFG_ERROR
	}
	return "UNKNOWN";
}

RDU_EXPORT const char *rdu_config_error_meaning(uint32_t error)
{
	switch (error) {
#define CFG_ERROR(n, v, t) \
	case v:            \
		return t;
		RDU_CFG_ERRORS(CFG_ERROR)
#undef CFG_ERROR
	}
	return "an error this library does not know";
}

/* ---- faults in words ------------------------------------------------------- */

static const char *const unit_names[] = { "PCU", "PMU", "AGCU" };

static const struct rdu_cfg_program *
program_of(const struct rdu_file *file, const struct rdu_prog_section *sec, uint32_t program)
{
	const struct rdu_cfg_header *cfg = (const void *)(file->image + sec->offset);

	if (sec->size < sizeof(*cfg) || program >= cfg->programs.count ||
	    cfg->programs.offset % 8 || cfg->programs.offset > sec->size ||
	    (sec->size - cfg->programs.offset) / sizeof(struct rdu_cfg_program) <= program)
		return NULL;
	return (const struct rdu_cfg_program *)(file->image + sec->offset + cfg->programs.offset) +
	       program;
}

/* "unit program 17 (LOAD on tile 0, AGCU 3) of Conv "conv1"", as far as known. */
static void describe_program(const struct rdu_file *file, const struct rdu_prog_section *sec,
			     uint32_t program, char *text, size_t size)
{
	const struct rdu_cfg_program *p = program_of(file, sec, program);
	const char *kind = "?", *unit = "?";

	snprintf(text, size, "unit program %u", program);
	if (!p)
		return;
	switch (p->kind) {
#define KIND(n, v, u, d)                         \
	case v:                                  \
		kind = #n;                       \
		unit = unit_names[RDU_UNIT_##u]; \
		break;
		RDU_KINDS(KIND)
#undef KIND
	}
	snprintf(text, size, "unit program %u (%s on tile %u, %s %u)", program, kind, p->tile, unit,
		 p->unit);
	if (p->op_id < file->num_ops) {
		size_t n = strlen(text);

		snprintf(text + n, size - n, " of %s \"%s\"", file->ops[p->op_id].type,
			 file->ops[p->op_id].name);
	}
}

/* The segment that a LOAD or STORE goes to, or NULL. */
static const struct rdu_prog_segment *
segment_of(const struct rdu_file *file, const struct rdu_prog_section *sec, uint32_t program)
{
	const struct rdu_cfg_header *cfg = (const void *)(file->image + sec->offset);
	const struct rdu_cfg_program *p = program_of(file, sec, program);
	const struct rdu_cfg_access *a;

	if (!p || (p->kind != RDU_KIND_LOAD && p->kind != RDU_KIND_STORE) || p->body % 8 ||
	    cfg->bodies.offset % 8 || cfg->bodies.offset > sec->size ||
	    sec->size - cfg->bodies.offset < sizeof(*a) ||
	    p->body > sec->size - cfg->bodies.offset - sizeof(*a))
		return NULL;
	a = (const void *)(file->image + sec->offset + cfg->bodies.offset + p->body);
	if (a->target >= sec->num_segments)
		return NULL;
	return (const struct rdu_prog_segment *)(file->image + file->header->segments_off) +
	       sec->first_segment + a->target;
}

/* "element 3 of "tokens", 4294967301", as far as known: what a LOAD or STORE
 * found not to fit. */
static void describe_element(struct rdu_program *prog, const struct rdu_prog_section *sec,
			     const struct rdu_fault_info *f, char *text, size_t size)
{
	const struct rdu_file *file = prog->file;
	const struct rdu_prog_segment *seg = segment_of(file, sec, f->program);
	const struct rdu_region_place *place;
	uint64_t at;

	if (!seg || seg->loop_stride || seg->region >= file->num_regions)
		return;
	at = seg->offset + f->address;
	for (unsigned int i = 0; i < file->num_symbols; i++) {
		const struct rdu_file_symbol *s = &file->symbols[i];
		uint64_t n = rdu_dtype_size(s->dtype);
		unsigned char *map;
		int64_t value;
		double real;

		if (s->region != seg->region || at < s->offset ||
		    at - s->offset >= rdu_symbol_size(s) || s->flags & RDU_SYM_BLOCKS)
			continue;
		snprintf(text, size, ": element %llu of \"%.63s\"",
			 (unsigned long long)((at - s->offset) / n), s->name);
		place = &prog->regions[seg->region];
		map = f->info == RDU_TRAP_LOAD && n == 8 ? rdu_buffer_map(place->buf) : NULL;
		if (!map || place->offset + at + 8 > place->buf->size)
			return;
		memcpy(&value, map + place->offset + at, 8);
		memcpy(&real, &value, 8);
		if (s->dtype == RDU_DT_F64)
			snprintf(text + strlen(text), size - strlen(text), ", %g", real);
		else
			snprintf(text + strlen(text), size - strlen(text),
				 s->dtype == RDU_DT_U64 ? ", %llu" : ", %lld", (long long)value);
		return;
	}
	snprintf(text, size, ": byte %llu of region \"%.63s\"", (unsigned long long)at,
		 file->regions[seg->region].name);
}

static const char *trap_text(uint32_t info)
{
	switch (info) {
#define TRAP(n, v, t) \
	case v:       \
		return t;
		RDU_TRAPS(TRAP)
#undef TRAP
	}
	return "a program's own check failed";
}

static const char *advice(uint32_t code)
{
	switch (code) {
	case RDU_FAULT_VALUE:
		return "integers are computed in 32 bits on the card (see numerics.md): keep such "
		       "values out of the model";
	case RDU_FAULT_BOUNDS:
		return "check the values of index inputs (labels, token numbers) against the sizes "
		       "they index";
	case RDU_FAULT_PAGE:
	case RDU_FAULT_PROTECTION:
		return "a buffer was bound and then freed, or is smaller than its region";
	case RDU_FAULT_WATCHDOG:
		return "give the context a longer watchdog, or a smaller batch";
	case RDU_FAULT_NO_TILES:
		return "open the context with more tiles";
	case RDU_FAULT_SEGMENT:
	case RDU_FAULT_CONFIG:
	case RDU_FAULT_NOT_LOADED:
		return "the program file is at fault: compile it again";
	case RDU_FAULT_ECC:
	case RDU_FAULT_HOST_BUS:
		return "the card or its link is at fault: see `rdu info`, then `rdu reset`";
	default:
		return "";
	}
}

int lr_fail_fault(struct rdu_object *obj, struct rdu_context *ctx, struct rdu_program *prog,
		  const char *entry, int code)
{
	struct rdu_fault_info f;
	char where[320] = "", element[128] = "", why[128] = "";
	const char *what_to_do;
	int ret = ctx->dev->backend->fault(ctx, &f);

	if (ret == -ENODEV)
		return lr_fail(obj, ret,
			       "%s: the card is gone: it was unplugged, or its driver unbound; "
			       "open it again when it is back",
			       ctx->dev->name);
	if (ret == -EIO)
		return lr_fail(obj, ret, "%s: " LR_CUT_OFF, ctx->dev->name);
	if (ret != 1)
		return lr_fail(obj, code == -EIO ? -ENODEV : code,
			       "%s: the card stopped working on this context and left no fault: it "
			       "was reset",
			       ctx->dev->name);
	if (prog && f.section != ~0u && f.section < prog->file->header->num_sections) {
		const struct rdu_prog_section *sec =
			(const struct rdu_prog_section *)(prog->file->image +
							  prog->file->header->sections_off) +
			f.section;
		char unit[192] = "";

		if (f.program != ~0u)
			describe_program(prog->file, sec, f.program, unit, sizeof(unit));
		snprintf(where, sizeof(where), ", in section %u \"%.*s\"%s%s", f.section,
			 (int)sizeof(sec->name), sec->name, unit[0] ? ", " : "", unit);
		if (f.code == RDU_FAULT_VALUE && f.info <= RDU_TRAP_STORE)
			describe_element(prog, sec, &f, element, sizeof(element));
	}
	if (f.code == RDU_FAULT_VALUE)
		snprintf(why, sizeof(why), ": %s", trap_text(f.info));
	what_to_do = advice(f.code);
	return lr_fail(
		obj, f.code == RDU_FAULT_WATCHDOG ? -ETIMEDOUT : -EFAULT,
		"%s%s%sthe card stopped the context: %s (%s, info %u)%s%s%s, at %s0x%llx%s%s",
		entry ? "entry point " : "", entry ? entry : "", entry ? ": " : "",
		rdu_fault_meaning(f.code), rdu_fault_name(f.code), f.info, why, element, where,
		f.code == RDU_FAULT_SEGMENT || f.code == RDU_FAULT_BOUNDS ||
				(f.code == RDU_FAULT_VALUE && f.info <= RDU_TRAP_STORE)
			? "byte "
		: f.code == RDU_FAULT_VALUE ? "stream element "
					    : "address ",
		(unsigned long long)f.address, what_to_do[0] ? "; " : "", what_to_do);
}

int lr_fail_refused(struct rdu_program *prog, uint32_t error, uint32_t section, uint64_t offset)
{
	const struct rdu_file *file = prog->file;
	char where[96] = "the program image";

	if (section < file->header->num_sections) {
		const struct rdu_prog_section *sec =
			(const struct rdu_prog_section *)(file->image +
							  file->header->sections_off) +
			section;

		snprintf(where, sizeof(where), "section %u \"%.*s\"", section,
			 (int)sizeof(sec->name), sec->name);
	}
	return lr_fail(&prog->obj, error == RDU_CFG_E_CHIP ? -EXDEV : -ENOEXEC,
		       "%s: .rdu.program: the card refused %s at byte %llu: %s (%s); compile it "
		       "again, `rdu validate` tells more",
		       file->path, where, (unsigned long long)offset,
		       rdu_config_error_meaning(error), rdu_config_error_name(error));
}
