// SPDX-License-Identifier: MIT
/*
 * The events of one run as a timeline: Chrome's JSON (Perfetto, chrome://tracing)
 * and a picture. On one track events must nest strictly, or viewers drop them:
 * argument loads and executions are one track, program loads, which may lie under
 * the execution before, another, each stage of each section one of its own, and an
 * activation that starts before the one before it ended (stages are pipelined) is
 * shown from where that ended.
 */
#include <stdlib.h>
#include <string.h>
#include "../json.h"
#include "rdu_tool.h"

static const struct rdu_prog_section *section_of(const struct trace *t, unsigned int i)
{
	const struct rdu_prog_header *h = rdu_file_header(t->file);

	if (i >= h->num_sections)
		return NULL;
	return (const struct rdu_prog_section *)((const char *)rdu_file_image(t->file, NULL) +
						 h->sections_off) +
	       i;
}

static const char *section_name(const struct trace *t, unsigned int i)
{
	const struct rdu_prog_section *s = section_of(t, i);

	return s && s->name[0] ? s->name : "section";
}

static bool on_tile(const struct rdu_trace_event *e)
{
	return e->kind == RDU_TRACE_PLOAD || e->kind == RDU_TRACE_ALOAD ||
	       e->kind == RDU_TRACE_EXEC;
}

static uint64_t first_cycle(const struct trace *t)
{
	uint64_t first = UINT64_MAX;
	unsigned int i;

	for (i = 0; i < t->count; i++)
		if (t->events[i].kind != RDU_TRACE_UNIT && t->events[i].start < first)
			first = t->events[i].start;
	return first == UINT64_MAX ? 0 : first;
}

static uint64_t last_cycle(const struct trace *t)
{
	uint64_t last = 0;
	unsigned int i;

	for (i = 0; i < t->count; i++)
		if (t->events[i].kind != RDU_TRACE_UNIT && t->events[i].end > last)
			last = t->events[i].end;
	return last;
}

static const char *const kind_names[] = { "pload", "aload", "exec", "stage", "unit" };

/* ---- JSON ----------------------------------------------------------------------------- */

/* Tracks in their order: argument loads and executions, program loads, then each section's stages. */
static int compare_tracks(const struct rdu_trace_event *x, const struct rdu_trace_event *y)
{
	bool tile = on_tile(x), load = x->kind == RDU_TRACE_PLOAD;

	if (tile != on_tile(y))
		return tile ? -1 : 1;
	if (tile)
		return load - (y->kind == RDU_TRACE_PLOAD);
	if (x->section != y->section)
		return x->section < y->section ? -1 : 1;
	return x->id == y->id ? 0 : x->id < y->id ? -1 : 1;
}

/* Order of tracks, then of time; an enclosing event before what it encloses. */
static int by_track(const void *a, const void *b)
{
	const struct rdu_trace_event *x = *(const struct rdu_trace_event *const *)a;
	const struct rdu_trace_event *y = *(const struct rdu_trace_event *const *)b;
	int order = compare_tracks(x, y);

	if (order)
		return order;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->end == y->end ? 0 : x->end > y->end ? -1 : 1;
}

static void put_track_name(FILE *f, const struct trace *t, const struct rdu_trace_event *e,
			   unsigned int track)
{
	char name[sizeof(((struct rdu_prog_section *)NULL)->name) + 64];

	if (on_tile(e))
		snprintf(name, sizeof(name), "tiles 0-%u%s", t->tiles - 1,
			 e->kind == RDU_TRACE_PLOAD ? ", program loads" : "");
	else
		snprintf(name, sizeof(name), "section %u %s stage %u", e->section,
			 section_name(t, e->section), e->id);
	fprintf(f,
		",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":%u,\"args\":{"
		"\"name\":",
		track);
	json_quote(f, name);
	fprintf(f,
		"}},\n{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":1,\"tid\":%u,"
		"\"args\":{\"sort_index\":%u}}",
		track, track);
}

static void put_event(FILE *f, const struct trace *t, const struct rdu_trace_event *e,
		      unsigned int track, uint64_t start, uint64_t end)
{
	char name[sizeof(((struct rdu_prog_section *)NULL)->name) + 64];
	double us = 1e6 / t->hz;

	if (e->kind == RDU_TRACE_STAGE)
		snprintf(name, sizeof(name), "activation %u", e->arg);
	else
		snprintf(name, sizeof(name), "%s %s", kind_names[e->kind],
			 section_name(t, e->section));
	fprintf(f,
		",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%u,\"ts\":%.4f,\"dur\":%.4f,\"name\":", track,
		start * us, (end - start) * us);
	json_quote(f, name);
	fprintf(f,
		",\"cat\":\"%s\",\"args\":{\"section\":%u,\"start_cycle\":%llu,"
		"\"end_cycle\":%llu",
		kind_names[e->kind], e->section, (unsigned long long)e->start,
		(unsigned long long)e->end);
	if (e->kind == RDU_TRACE_STAGE)
		fprintf(f, ",\"stage\":%u", e->id);
	fprintf(f, "}}");
}

int write_trace_json(const char *path, const struct trace *t)
{
	const struct rdu_trace_event **order = xmalloc((t->count + 1) * sizeof(*order));
	uint64_t zero = first_cycle(t), until = 0;
	unsigned int i, n = 0, track = 0;
	char name[300];
	struct lr_outfile o;
	FILE *f = lr_outfile_open(&o, path);

	if (!f) {
		free(order);
		return o.error;
	}
	for (i = 0; i < t->count; i++)
		if (t->events[i].kind <= RDU_TRACE_STAGE)
			order[n++] = &t->events[i];
	qsort(order, n, sizeof(*order), by_track);
	fprintf(f,
		"{\"displayTimeUnit\":\"ns\",\"otherData\":{\"clock\":\"modelled card time, "
		"%.6g GHz\",\"dropped_events\":%u},\n\"traceEvents\":[\n"
		"{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":1,\"args\":{\"name\":",
		t->hz * 1e-9, t->dropped);
	snprintf(name, sizeof(name), "RDU %s, %s", rdu_file_chip(t->file)->name, t->entry);
	json_quote(f, name);
	fprintf(f, "}}");
	for (i = 0; i < n; i++) {
		const struct rdu_trace_event *e = order[i];
		uint64_t start = e->start, end = e->end;

		if (!i || compare_tracks(order[i - 1], e)) {
			until = 0;
			put_track_name(f, t, e, ++track);
		}
		if (start < until)
			start = until;
		if (end < start)
			end = start;
		until = end;
		put_event(f, t, e, track, start - zero, end - zero);
	}
	/* Counters of unit programs, for those who read the file by program. */
	fprintf(f, "\n],\n\"unitPrograms\":[");
	for (i = n = 0; i < t->count; i++) {
		const struct rdu_trace_event *e = &t->events[i];

		if (e->kind != RDU_TRACE_UNIT)
			continue;
		fprintf(f,
			"%s\n{\"section\":%u,\"program\":%u,\"busy\":%llu,\"stall_in\":%llu,"
			"\"stall_out\":%llu,\"stall_mem\":%llu}",
			n++ ? "," : "", e->section, e->id, (unsigned long long)e->start,
			(unsigned long long)e->end, (unsigned long long)e->stall_out,
			(unsigned long long)e->stall_mem);
	}
	fprintf(f, "\n]}\n");
	free(order);
	return lr_outfile_close(&o);
}

/* ---- the picture ------------------------------------------------------------------------ */

#define WIDTH 1180
#define LEFT 320
#define RIGHT 30
#define TOP 108
#define ROW 22
#define MOST_ROWS 40

struct row {
	unsigned int section;
	uint64_t pload, aload, exec; /* cycles */
	unsigned int runs;
};

static const char *const colours[] = { "#3b7dd8", "#e58a2f", "#3fa66b", "#b455a0", "#c94f4f",
				       "#5e6fc4", "#8a9a2b", "#2fa3b5", "#a0704a", "#7a7f87" };

static int by_time(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	uint64_t p = x->exec + x->pload + x->aload, q = y->exec + y->pload + y->aload;

	return p == q ? (x->section > y->section) - (x->section < y->section) : p < q ? 1 : -1;
}

static int by_section(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->section > y->section) - (x->section < y->section);
}

static double nice_step(double range)
{
	double step = 1e-9;

	while (range / step > 10)
		step *= 10;
	return range / step > 5 ? step : range / step > 2 ? step / 2 : step / 5;
}

static void draw_scale(FILE *f, double seconds, double bottom)
{
	double step = nice_step(seconds), v;
	char text[32];

	for (v = 0; v <= seconds * 1.0001; v += step) {
		double x = LEFT + v / seconds * (WIDTH - LEFT - RIGHT);

		fprintf(f, "<line x1='%.1f' x2='%.1f' y1='%d' y2='%.1f' stroke='#e6e9ee'/>", x, x,
			TOP - 6, bottom);
		fprintf(f, "<text x='%.1f' y='%d' class='t' text-anchor='middle'>%s</text>\n", x,
			TOP - 14, v ? human_time(v, text, sizeof(text)) : "0");
	}
}

/* Neighbours less than a third of a pixel apart are drawn as one. */
static void draw_events(FILE *f, const struct trace *t, unsigned int section, unsigned int kind,
			double y, double height, const char *colour, uint64_t zero, uint64_t all)
{
	double scale = (double)(WIDTH - LEFT - RIGHT) / all, from = -1, to = -1;
	unsigned int i;

	for (i = 0; i <= t->count; i++) {
		const struct rdu_trace_event *e = &t->events[i];
		double a = 0, b = 0;

		if (i < t->count) {
			if (e->kind != kind || (section != ~0u && e->section != section))
				continue;
			a = LEFT + (e->start - zero) * scale;
			b = LEFT + (e->end - zero) * scale;
			if (from >= 0 && a - to < 0.33 && a >= from) {
				to = b > to ? b : to;
				continue;
			}
		}
		if (from >= 0)
			fprintf(f,
				"<rect x='%.2f' y='%.1f' width='%.2f' height='%.1f' fill='%s'/>\n",
				from, y, to - from < 0.4 ? 0.4 : to - from, height, colour);
		from = a;
		to = b;
	}
}

static void text_at(FILE *f, double x, double y, const char *style, const char *text)
{
	fprintf(f, "<text x='%.1f' y='%.1f' %s>", x, y, style);
	put_xml(f, text);
	fprintf(f, "</text>\n");
}

int write_timeline_svg(const char *path, const struct trace *t)
{
	const struct rdu_prog_header *h = rdu_file_header(t->file);
	struct row *rows = xcalloc(h->num_sections + 1, sizeof(*rows));
	uint64_t zero = first_cycle(t), all = last_cycle(t) - zero, sum[3] = { 0 };
	unsigned int i, n = 0, shown;
	double y, seconds;
	char text[200], time[32];
	struct lr_outfile o;
	FILE *f = lr_outfile_open(&o, path);

	if (!f) {
		free(rows);
		return o.error;
	}
	if (!all)
		all = 1;
	seconds = all / t->hz;
	for (i = 0; i < h->num_sections; i++)
		rows[i].section = i;
	for (i = 0; i < t->count; i++) {
		const struct rdu_trace_event *e = &t->events[i];
		uint64_t d = e->end - e->start;

		if (!on_tile(e) || e->section >= h->num_sections)
			continue;
		sum[e->kind] += d;
		*(e->kind == RDU_TRACE_PLOAD   ? &rows[e->section].pload
		  : e->kind == RDU_TRACE_ALOAD ? &rows[e->section].aload
					       : &rows[e->section].exec) += d;
		rows[e->section].runs += e->kind == RDU_TRACE_EXEC;
	}
	qsort(rows, h->num_sections, sizeof(*rows), by_time);
	while (n < h->num_sections && (rows[n].exec || rows[n].pload || rows[n].aload))
		n++;
	shown = n < MOST_ROWS ? n : MOST_ROWS;
	qsort(rows, shown, sizeof(*rows), by_section);
	y = TOP + (3 + shown) * ROW + 16;

	fprintf(f,
		"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %.0f' width='%d' "
		"height='%.0f' font-family='Helvetica,Arial,sans-serif'>\n<style>.t{font-size:12px;"
		"fill:#5b6675}.n{font-size:12px;fill:#17202b}.b{font-size:12px;font-weight:bold;"
		"fill:#17202b}</style><rect width='%d' height='%.0f' fill='#ffffff'/>\n",
		WIDTH, y + 34, WIDTH, y + 34, WIDTH, y + 34);
	snprintf(text, sizeof(text), "Timeline of %s", t->entry);
	text_at(f, 20, 34, "font-size='20' font-weight='bold' fill='#17202b'", text);
	snprintf(text, sizeof(text), "%s, %u tile%s, %u sections, %s of card time (modelled%s)",
		 rdu_file_chip(t->file)->name, t->tiles, t->tiles == 1 ? "" : "s", n,
		 human_time(seconds, time, sizeof(time)),
		 rdu_file_chip(t->file)->assumed ? ", numbers partly assumed" : "");
	text_at(f, 20, 56, "font-size='13' fill='#5b6675'", text);
	draw_scale(f, seconds, y);
	for (i = 0; i < 3; i++) {
		static const unsigned int kinds[] = { RDU_TRACE_EXEC, RDU_TRACE_PLOAD,
						      RDU_TRACE_ALOAD };
		static const char *const names[] = { "execute", "program load", "argument load" };
		static const char *const paint[] = { "#17365c", "#d1495b", "#edae49" };

		snprintf(text, sizeof(text), "%s  %.1f %%", names[i], 100.0 * sum[kinds[i]] / all);
		text_at(f, 20, TOP + i * ROW + 14, "class='b'", text);
		draw_events(f, t, ~0u, kinds[i], TOP + i * ROW + 2, ROW - 6, paint[i], zero, all);
	}
	fprintf(f, "<line x1='20' x2='%d' y1='%d' y2='%d' stroke='#8a94a3'/>\n", WIDTH - RIGHT,
		TOP + 3 * ROW + 2, TOP + 3 * ROW + 2);
	for (i = 0; i < shown; i++) {
		double top = TOP + (3 + i) * ROW + 8;
		const char *name = section_name(t, rows[i].section);

		snprintf(text, sizeof(text), strlen(name) > 34 ? "%u %.32s..." : "%u %s",
			 rows[i].section, name);
		text_at(f, 20, top + 13, "class='n'", text);
		snprintf(text, sizeof(text), "%.1f %%", 100.0 * rows[i].exec / all);
		text_at(f, LEFT - 10, top + 13, "class='t' text-anchor='end'", text);
		draw_events(f, t, rows[i].section, RDU_TRACE_PLOAD, top + 2, ROW - 6, "#d1495b",
			    zero, all);
		draw_events(f, t, rows[i].section, RDU_TRACE_ALOAD, top + 2, ROW - 6, "#edae49",
			    zero, all);
		draw_events(f, t, rows[i].section, RDU_TRACE_EXEC, top + 2, ROW - 6,
			    colours[rows[i].section % 10], zero, all);
	}
	if (shown < n)
		snprintf(text, sizeof(text), "%u more sections take less time and are not shown",
			 n - shown);
	else
		snprintf(text, sizeof(text),
			 "a section's share of the time is its execution alone; its program load "
			 "may lie "
			 "under another's");
	text_at(f, 20, y + 18, "class='t'", text);
	fprintf(f, "</svg>\n");
	free(rows);
	return lr_outfile_close(&o);
}
