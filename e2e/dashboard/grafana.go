package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// What follows is Grafana's model, as far as it is used.
type (
	object  = map[string]any
	objects = []object
)

const (
	schemaVersion = 39
	width         = 24 // of a dashboard, in Grafana's units
	defaultHeight = 8
)

// Prometheus and traces are whatever data sources are chosen at the top of a dashboard.
const (
	prometheusVariable = "${datasource}"
	tracesVariable     = "${traces}"
)

func prometheus() object { return object{"type": "prometheus", "uid": prometheusVariable} }

// Render makes the JSON of a dashboard; the same description gives the same bytes.
func Render(d Dashboard) ([]byte, error) {
	panels, err := d.panels()
	if err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", d.Name, err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err = encoder.Encode(object{
		"uid": "streamhouse-" + d.Name, "title": "StreamHouse / " + d.Title, "description": d.About, "tags": []string{"streamhouse"},
		"schemaVersion": schemaVersion, "editable": true, "graphTooltip": 1, "refresh": "30s", "timezone": "browser",
		"time":        object{"from": "now-1h", "to": "now"},
		"annotations": object{"list": objects{}},
		"links": objects{{
			"type": "dashboards", "title": "StreamHouse", "tags": []string{"streamhouse"}, "asDropdown": true, "includeVars": true, "keepTime": true,
		}},
		"templating": object{"list": variables(d)},
		"panels":     panels,
	})
	return out.Bytes(), err
}

func variables(d Dashboard) objects {
	all := objects{
		{"name": "datasource", "label": "Metrics", "type": "datasource", "query": "prometheus", "refresh": 1},
		{
			"name": "job", "label": "Job", "type": "query", "datasource": prometheus(), "definition": "label_values(streamhouse_rpc_active, job)",
			"query": object{"qryType": 1, "query": "label_values(streamhouse_rpc_active, job)", "refId": "job"}, "refresh": 2, "sort": 1,
			"multi": true, "includeAll": true, "allValue": ".*", "current": object{"text": "All", "value": "$__all"},
		},
	}
	for _, r := range d.Rows {
		for _, p := range r.Panels {
			if p.Traces != "" {
				return append(all, object{"name": "traces", "label": "Traces", "type": "datasource", "query": "tempo", "refresh": 1})
			}
		}
	}
	return all
}

// panels one row below the other, each row's side by side.
func (d Dashboard) panels() (all objects, err error) {
	y := 0
	for _, r := range d.Rows {
		all = append(all, object{
			"id": len(all) + 1, "type": "row", "title": r.Title, "collapsed": false, "panels": objects{}, "gridPos": object{"x": 0, "y": y, "w": width, "h": 1},
		})
		y++
		height := r.Height
		if height == 0 {
			height = defaultHeight
		}
		for i, p := range r.Panels {
			left, right := i*width/len(r.Panels), (i+1)*width/len(r.Panels)
			panel, err := p.render()
			if err != nil {
				return nil, err
			}
			panel["id"], panel["gridPos"] = len(all)+1, object{"x": left, "y": y, "w": right - left, "h": height}
			all = append(all, panel)
		}
		y += height
	}
	return all, nil
}

func (p Panel) render() (object, error) {
	queries, err := p.queries()
	if err != nil {
		return nil, err
	}
	targets := make(objects, len(queries))
	for i, q := range queries {
		targets[i] = object{
			"refId": string(rune('A' + i)), "datasource": prometheus(), "editorMode": "code", "expr": q.Expr, "legendFormat": q.Legend, "range": true,
			"exemplar": p.Percentiles != "" && p.Traces != "",
		}
		if q.Legend == "" {
			targets[i]["legendFormat"] = p.Title
		}
	}
	panel := object{"title": p.Title, "description": p.About, "datasource": prometheus(), "targets": targets, "type": "timeseries", "options": object{
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": len(queries) > 1 || strings.Contains(queries[0].Legend, "{{")},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}}
	defaults := object{"unit": p.Unit, "min": 0, "custom": object{
		"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never",
		"stacking": object{"mode": map[bool]string{false: "none", true: "normal"}[p.Stack]},
	}}
	if p.Kind == "stat" {
		panel["type"] = "stat"
		panel["options"] = object{"colorMode": "value", "graphMode": "area", "reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}}
		defaults = object{"unit": p.Unit, "min": 0, "color": object{"mode": "thresholds"}, "thresholds": p.thresholds()}
	}
	if p.Traces != "" {
		defaults["links"] = objects{{"title": "Traces", "url": tracesURL(p.Traces), "targetBlank": true}}
	}
	panel["fieldConfig"] = object{"defaults": defaults, "overrides": objects{}}
	return panel, nil
}

// thresholds colour a number: green, or red beyond the bound.
func (p Panel) thresholds() object {
	steps := objects{{"color": "green", "value": nil}}
	switch {
	case p.BadAbove != nil:
		// Grafana's steps begin at their value; a number above the bound is bad, the bound itself is not.
		steps = append(steps, object{"color": "red", "value": *p.BadAbove + 1e-9})
	case p.BadBelow != nil:
		steps = objects{{"color": "red", "value": nil}, {"color": "green", "value": *p.BadBelow}}
	}
	return object{"mode": "absolute", "steps": steps}
}

// tracesURL opens the data source for traces on a query, at the dashboard's time. Grafana fills in its variables, which must not be escaped.
func tracesURL(traceQL string) string {
	source := object{"type": "tempo", "uid": tracesVariable}
	panes, err := json.Marshal(object{"traces": object{
		"datasource": tracesVariable, "range": object{"from": "${__from}", "to": "${__to}"},
		"queries": objects{{"refId": "A", "datasource": source, "queryType": "traceql", "tableType": "traces", "limit": 20, "query": traceQL}},
	}})
	if err != nil {
		panic(fmt.Sprintf("a map of strings cannot be encoded: %v", err)) // and so it can
	}
	escaped := url.QueryEscape(string(panes))
	for _, variable := range []string{tracesVariable, "${__from}", "${__to}"} {
		escaped = strings.ReplaceAll(escaped, url.QueryEscape(variable), variable)
	}
	return "/explore?schemaVersion=1&panes=" + escaped
}
