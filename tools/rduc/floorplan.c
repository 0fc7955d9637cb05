// SPDX-License-Identifier: MIT
/*
 * The floor plan: where the unit programs of each section sit and what the links
 * carry, as one SVG file. The section with the most units is drawn large, the others beside
 * it. The hue says which operator, the same everywhere; shape and lightness say what
 * kind of unit, and the legend shows those in grey. A name that is cut is whole in its
 * tooltip (<title>).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

static void put_text(FILE *f, const char *s, size_t most)
{
	for (size_t i = 0; s[i] && i < most; i++)
		switch (s[i]) {
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '&':
			fputs("&amp;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		default:
			if ((unsigned char)s[i] >= 32)
				fputc(s[i], f);
		}
	if (strlen(s) > most)
		fputs("\xe2\x80\xa6", f);
}

/* A text of `most` characters at most, with all of it in its tooltip. */
static void put_label(FILE *f, const char *s, size_t most)
{
	put_text(f, s, most);
	if (strlen(s) > most) {
		fputs("<title>", f);
		put_text(f, s, SIZE_MAX);
		fputs("</title>", f);
	}
}

#define NEST_WIDTH 190 /* of a nest's name under the large picture */

/* Evenly spread hues, neighbours far apart. */
static void color(char *to, size_t size, int op, int light)
{
	double h = fmod(op * 137.508 + 205, 360);

	snprintf(to, size, "hsl(%.0f,%d%%,%d%%)", h, light > 70 ? 55 : 62, light);
}

struct picture {
	struct backend *be;
	FILE *f;
	double x, y, cell;
	int cols, rows; /* switches */
};

static double px(const struct picture *p, double x)
{
	return p->x + (x + 0.5) * p->cell;
}

static double py(const struct picture *p, double y)
{
	int rows = (int)p->be->chip.tile_rows;

	return p->y + (y + 0.5) * p->cell + floor(y / rows) * p->cell * 0.6;
}

static double height(const struct picture *p)
{
	return (p->rows + (p->be->tiles - 1) * 0.6) * p->cell;
}

static void ground(const struct picture *p)
{
	const struct rdu_chip *chip = &p->be->chip;
	int rows = (int)chip->tile_rows;
	double r = p->cell * 0.29;

	for (int t = 0; t < p->be->tiles; t++)
		fprintf(p->f,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%.1f\" "
			"class=\"tile\"/>\n",
			p->x - p->cell * 0.7, p->y + t * (rows + 0.6) * p->cell - p->cell * 0.1,
			(p->cols + 1.4) * p->cell, (rows + 0.2) * p->cell, p->cell * 0.3);
	/* one path for all units that exist: they are many */
	for (int k = 0; k < 2; k++) {
		fprintf(p->f, "<path class=\"%s\" d=\"", k ? "nopmu" : "nopcu");
		for (int y = 0; y < p->rows; y++)
			for (int x = 0; x < p->cols; x++)
				if (((x + y % rows) & 1) == k)
					fprintf(p->f, "M%.1f %.1fh%.1fv%.1fh%.1fz", px(p, x) - r,
						py(p, y) - r, 2 * r, 2 * r, -2 * r);
		fprintf(p->f, "\"/>\n");
	}
}

static void routes(const struct picture *p, const struct uimage *im)
{
	int n = p->cols * p->rows * 4, most = 0;
	int *load = xcalloc((size_t)n, sizeof(int));
	static const int dx[] = { 0, 1, 0, -1 }, dy[] = { -1, 0, 1, 0 };

	for (int s = 0; s < im->num_streams; s++)
		for (int k = 0; k < im->stream[s].num_links; k++) {
			int l = (int)(im->stream[s].link[k].sw * 4 + im->stream[s].link[k].dir);

			if (l < n && ++load[l] > most)
				most = load[l];
		}
	for (int w = 1; w <= most; w++) { /* a path for each width */
		bool any = false;

		for (int l = 0; l < n; l++) {
			int d = l % 4, x = l / 4 % p->cols, y = l / 4 / p->cols;
			double off = p->cell * 0.09; /* each way on its own side */

			if (load[l] != w)
				continue;
			if (!any)
				fprintf(p->f, "<path class=\"route\" stroke-width=\"%.2f\" d=\"",
					p->cell * (0.03 + 0.024 * w));
			any = true;
			fprintf(p->f, "M%.1f %.1fL%.1f %.1f", px(p, x) - dy[d] * off,
				py(p, y) + dx[d] * off, px(p, x + dx[d]) - dy[d] * off,
				py(p, y + dy[d]) + dx[d] * off);
		}
		if (any)
			fprintf(p->f, "\"/>\n");
	}
	free(load);
}

static void array_grid(FILE *f, double x, double y, double r)
{
	fprintf(f,
		"<path class=\"grid\" d=\"M%.1f %.1fv%.1fM%.1f %.1fv%.1fM%.1f %.1fh%.1fM%.1f "
		"%.1fh%.1f\"/>\n",
		x - r / 3, y - r * 0.7, r * 1.4, x + r / 3, y - r * 0.7, r * 1.4, x - r * 0.7,
		y - r / 3, r * 1.4, x - r * 0.7, y + r / 3, r * 1.4);
}

/* The most telling kind of program on a unit decides how it is drawn. */
static void units(const struct picture *p, const struct uimage *im, bool titles)
{
	bool *done = xcalloc((size_t)im->num_progs + 1, sizeof(bool));

	for (int i = 0; i < im->num_progs; i++) {
		const struct uunit *u = &im->unit[im->who[i].unit];
		double x = px(p, u->x), y = py(p, u->y), r = p->cell * 0.33;
		int num[6] = { 0 }, light = 48;
		char fill[40];

		if (done[i])
			continue;
		for (int k = i; k < im->num_progs; k++) {
			const struct uunit *o = &im->unit[im->who[k].unit];

			if (o->kind != u->kind || o->tile != u->tile || o->phys != u->phys)
				continue;
			done[k] = true;
			num[im->who[k].kind]++;
		}
		if (u->kind == RDU_UNIT_PMU)
			light = 76;
		else if (u->kind == RDU_UNIT_AGCU)
			light = num[RDU_KIND_STORE] ? 34 : 60;
		else if (num[RDU_KIND_SIMD])
			light = 58;
		color(fill, sizeof(fill), im->who[i].op_id, light);
		if (u->kind == RDU_UNIT_AGCU) { /* outside, beside its switch */
			double w = p->cell * 0.3, to = u->x ? p->cell * 0.5 : -p->cell * 0.5;

			fprintf(p->f,
				"<path class=\"route\" stroke-width=\"%.2f\" d=\"M%.1f "
				"%.1fh%.1f\"/>",
				p->cell * 0.06, x, y, to);
			x += u->x ? p->cell * 0.62 : -p->cell * 0.62;
			y += (u->phys / 2 / (int)p->be->chip.tile_rows % 2) * p->cell * 0.3;
			fprintf(p->f,
				"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
				"fill=\"%s\">",
				x - w / 2, y - r, w, 2 * r, fill);
		} else {
			fprintf(p->f,
				"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
				"rx=\"%.1f\" fill=\"%s\">",
				x - r, y - r, 2 * r, 2 * r,
				u->kind == RDU_UNIT_PMU ? p->cell * 0.02 : p->cell * 0.12, fill);
		}
		if (titles) {
			static const char *const name[] = { "PCU", "PMU", "AGCU" };
			static const char *const kind[] = {
#define KIND_NAME(n, v, u, d) [v] = #n,
				RDU_KINDS(KIND_NAME)
#undef KIND_NAME
			};

			fprintf(p->f, "<title>%s %d of tile %d:", name[u->kind], u->phys, u->tile);
			for (int k = 0; k < 6; k++)
				if (num[k])
					fprintf(p->f, " %d %s", num[k], kind[k]);
			fprintf(p->f, "</title>");
		}
		fprintf(p->f, "</rect>\n");
		if (p->cell > 14 && num[RDU_KIND_SYSTOLIC]) /* an array: a small grid */
			array_grid(p->f, x, y, r);
	}
	free(done);
}

static void style(FILE *f, double w, double h)
{
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
		"width=\"%.0f\" height=\"%.0f\" font-family=\"Helvetica,Arial,sans-serif\">\n",
		w, h, w, h);
	fputs("<style>.tile{fill:#f4f5f7;stroke:#c6cad2;stroke-width:.8}"
	      ".nopcu{fill:#e3e6eb}.nopmu{fill:#ecedf1}"
	      ".route{stroke:#3b4a63;stroke-opacity:.55;fill:none;stroke-linecap:round}"
	      ".grid{stroke:#fff;stroke-opacity:.75;stroke-width:1;fill:none}"
	      "text{fill:#1d2430}.dim{fill:#687385}</style>\n"
	      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
	      f);
}

/* In grey: it holds for every section, whatever its operators' colours. */
static void legend(FILE *f, double x, double y)
{
	static const struct {
		const char *text;
		int light;
	} kind[] = { { "PCU, systolic", 48 },
		     { "PCU, SIMD", 58 },
		     { "PMU", 76 },
		     { "AGCU, loads", 60 },
		     { "AGCU, stores", 34 } };
	double at = x;

	for (size_t i = 0; i < sizeof(kind) / sizeof(kind[0]); i++) {
		fprintf(f,
			"<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"12\" rx=\"%d\" "
			"fill=\"hsl(215,8%%,%d%%)\"/>\n",
			at, y, i > 2 ? 6 : 12, i < 2 ? 3 : 0, kind[i].light);
		if (!i)
			array_grid(f, at + 6, y + 6, 6);
		fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"11\">%s</text>\n",
			at + (i > 2 ? 11 : 17), y + 10, kind[i].text);
		at += (i > 2 ? 28 : 34) + 6.1 * (double)strlen(kind[i].text);
	}
	fprintf(f,
		"<path class=\"route\" stroke-width=\"1\" d=\"M%.1f %.1fh18\"/><path "
		"class=\"route\" stroke-width=\"4\" d=\"M%.1f %.1fh18\"/>"
		"<text x=\"%.1f\" y=\"%.1f\" font-size=\"11\">route, wider: more streams; "
		"colour: the operator</text>\n",
		at, y + 6, at + 22, y + 6, at + 46, y + 10);
}

/* The nests of a section in their colours, beside each other: names under the large picture,
 * else tooltips. */
static void nest_key(const struct picture *p, const struct uimage *im, double x, double y,
		     bool large)
{
	double size = large ? 10 : 7, step = large ? NEST_WIDTH : 9;
	int across = (int)(((p->cols + 1) * p->cell) / step);

	for (int i = 0; i < im->num_shares; i++) {
		double at = x + i % across * step, down = y + (double)(i / across) * (size + 6);
		const char *name = p->be->op[im->share[i].op].name;
		char fill[40];

		color(fill, sizeof(fill), im->share[i].op, 48);
		fprintf(p->f,
			"<g><rect x=\"%.1f\" y=\"%.1f\" width=\"%.0f\" height=\"%.0f\" rx=\"2\" "
			"fill=\"%s\" class=\"nest\"/><title>",
			at, down, size, size, fill);
		put_text(p->f, name, SIZE_MAX);
		fprintf(p->f, "</title>");
		if (large) {
			fprintf(p->f, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"10\">", at + 15,
				down + 9);
			put_text(p->f, name, (size_t)((step - 20) / 5.8));
			fprintf(p->f, "</text>");
		}
		fprintf(p->f, "</g>\n");
	}
}

void be_floorplan(struct backend *be, FILE *f)
{
	struct picture p = { .be = be,
			     .f = f,
			     .cols = (int)be->chip.tile_cols,
			     .rows = (int)be->chip.tile_rows * be->tiles };
	int big = 0, across, shown = be->num_sections - 1;
	double large = be->tiles > 2 ? 16 : be->tiles > 1 ? 20 : 30, small = 6.5;
	double top = 104, bw, bh, tw, th, W, H, left = 40, key;

	for (int i = 1; i < be->num_sections; i++) {
		const struct uimage *a = be->section[i].im, *b = be->section[big].im;
		int more = a->used[0] + a->used[1] - b->used[0] - b->used[1];

		if (more > 0 || (!more && a->cycles > b->cycles))
			big = i;
	}
	p.cell = large;
	bw = (p.cols + 1.6) * large;
	bh = height(&p);
	p.cell = small;
	tw = (p.cols + 3.4) * small;
	th = height(&p) + 52;
	across = shown > 0 ? (int)fmax(1, ceil(sqrt((double)shown * th / tw))) : 0;
	if (shown > 0) { /* as many columns as keep it about as tall as the large one */
		across = (int)ceil((double)shown * th / fmax(bh, th));
		if (across > 8)
			across = 8;
	}
	W = fmax(left + bw + 50 + across * tw, 820);
	key = 24 + 16 * ceil(be->section[big].im->num_shares / floor(bw / NEST_WIDTH));
	H = top + fmax(bh + key, across ? ceil((double)shown / across) * th : 0) + 40;
	style(f, W, H);
	fprintf(f, "<text x=\"30\" y=\"34\" font-size=\"20\" font-weight=\"600\">");
	put_label(f, be->opt->model ? be->opt->model : be->m->name, 48);
	fprintf(f,
		" on %s</text>\n<text x=\"30\" y=\"54\" font-size=\"12\" class=\"dim\">%d of %u "
		"tiles, "
		"%d section%s, -O%d; cycles are modelled</text>\n",
		be->chip.name, be->tiles, be->chip.tiles, be->num_sections,
		be->num_sections == 1 ? "" : "s", be->level);
	legend(f, 30, 64);
	p.x = left;
	p.y = top + 22;
	p.cell = large;
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"14\" font-weight=\"600\">", left - 10,
		top - 2);
	put_label(f, be->section[big].im->name, (size_t)(bw / 8.5));
	fprintf(f,
		"</text><text x=\"%.1f\" y=\"%.1f\" font-size=\"11\" class=\"dim\">"
		"%llu cycles, %d PCU, %d PMU, %d AGCU</text>\n",
		left - 10, top + 13, (unsigned long long)be->section[big].im->cycles,
		be->section[big].im->used[0], be->section[big].im->used[1],
		be->section[big].im->used[2]);
	ground(&p);
	routes(&p, be->section[big].im);
	units(&p, be->section[big].im, true);
	nest_key(&p, be->section[big].im, left - 10, p.y + height(&p) + 8, true);
	for (int i = 0, k = 0; i < be->num_sections; i++) {
		const struct uimage *im = be->section[i].im;

		if (i == big)
			continue;
		p.cell = small;
		p.x = left + bw + 50 + (k % across) * tw;
		p.y = top + 22 + (k / across) * th;
		fprintf(f, "<g><title>");
		put_text(f, im->name, SIZE_MAX);
		fprintf(f, ": %d PCU, %d PMU, %d AGCU</title>\n", im->used[0], im->used[1],
			im->used[2]);
		fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"10\">", p.x - 4, p.y - 6);
		put_text(f, im->name, (size_t)((tw - 3 * small) / 6.4));
		fprintf(f, "</text>\n");
		ground(&p);
		routes(&p, im);
		units(&p, im, false);
		fprintf(f,
			"<text x=\"%.1f\" y=\"%.1f\" font-size=\"9\" class=\"dim\">%s, %llu "
			"cycles</text>\n",
			p.x - 4, p.y + height(&p) + 12, be->entry[be->section[i].entry].name,
			(unsigned long long)im->cycles);
		nest_key(&p, im, p.x - 4, p.y + height(&p) + 17, false);
		fprintf(f, "</g>\n");
		k++;
	}
	fprintf(f, "</svg>\n");
}
