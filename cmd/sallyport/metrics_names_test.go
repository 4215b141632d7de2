package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sallyport/sallyport/proxy/metrics"
)

// described collects the names of everything that is registered.
type described struct {
	prometheus.Registerer
	names map[string]bool
}

var nameOf = regexp.MustCompile(`fqName: "([^"]+)"`)

func (d described) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		to := make(chan *prometheus.Desc, 1000)
		c.Describe(to)
		close(to)
		for desc := range to {
			d.names[nameOf.FindStringSubmatch(desc.String())[1]] = true
		}
	}
}

// metricNames are those of everything that the program exports.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	have := described{names: make(map[string]bool)}
	metrics.New(have)
	newCertificateMetrics(have)
	have.MustRegister(newSnapshots(nil), newRefusals(nil))
	families, err := newRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		have.names[family.GetName()] = true
	}
	return have.names
}

// deployed reads a file of deploy/.
func deployed(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestEachMetricIsShownAndNoneIsThatDoesNotExist(t *testing.T) {
	have := metricNames(t)
	word := regexp.MustCompile(`\b(?:sallyport|process|go)_[a-z0-9_]+`)
	shown := make(map[string]bool)
	for _, file := range []string{"grafana-dashboard.json", "alerts.yaml", "alerts.test.yaml"} {
		found := word.FindAllString(string(deployed(t, file)), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		for _, name := range found {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if trimmed := strings.TrimSuffix(name, suffix); have[trimmed] {
					base = trimmed
				}
			}
			if !have[base] {
				t.Errorf("%s: there is no metric %s", file, name)
			}
			shown[base] = true
		}
	}
	_, section, _ := strings.Cut(readme(t), "\n### Metrics\n")
	section, _, _ = strings.Cut(section, "\n### ")
	told := make(map[string]bool)
	for line := range strings.SplitSeq(section, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		for _, quoted := range regexp.MustCompile("`([a-z0-9_]+)`").FindAllStringSubmatch(cells[1], -1) {
			told["sallyport_"+quoted[1]] = true
		}
	}
	for name := range told {
		if !have[name] {
			t.Errorf("README: there is no metric %s", name)
		}
	}
	for name := range have {
		if !strings.HasPrefix(name, "sallyport_") {
			continue
		}
		if !told[name] {
			t.Errorf("README's list of metrics lacks %s", name)
		}
		if !shown[name] {
			t.Errorf("neither the dashboard nor an alert has %s", name)
		}
	}
}

func TestTheDashboardIsWhatGrafanaTakes(t *testing.T) {
	type place struct{ X, Y, W, H int }
	type source struct{ Type, UID string }
	var dashboard struct {
		Title, UID    string
		SchemaVersion int
		Panels        []struct {
			ID          int
			Title, Type string
			GridPos     place
			Datasource  source
			FieldConfig struct {
				Defaults struct{ Unit string }
			}
			Targets []struct{ RefID, Expr, LegendFormat, Format string }
		}
	}
	if err := json.Unmarshal(deployed(t, "grafana-dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.Title == "" || dashboard.UID == "" || dashboard.SchemaVersion < 30 || len(dashboard.Panels) < 20 {
		t.Errorf("%q, %q, schema %d, %d panels", dashboard.Title, dashboard.UID, dashboard.SchemaVersion, len(dashboard.Panels))
	}
	seen := make(map[any]string) // a number or a cell of the grid
	taken := func(what any, by string) {
		if other, is := seen[what]; is {
			t.Errorf("%q and %q share %v", other, by, what)
		}
		seen[what] = by
	}
	for _, p := range dashboard.Panels {
		if p.Title == "" || p.Type == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource != (source{"prometheus", "${datasource}"}) {
			t.Errorf("panel %d %q is not complete", p.ID, p.Title)
		}
		taken(p.ID, p.Title)
		if g := p.GridPos; g.X < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
			t.Errorf("%q stands at %+v", p.Title, g)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				taken([2]int{p.GridPos.X + x, p.GridPos.Y + y}, p.Title)
			}
		}
		for _, target := range p.Targets {
			taken([2]any{p.ID, target.RefID}, p.Title)
			if !strings.Contains(target.Expr, `{instance=~"$instance"}`) {
				t.Errorf("%q: %s is not of the chosen instance", p.Title, target.Expr)
			}
			if target.LegendFormat == "" && target.Format != "table" {
				t.Errorf("%q: %s has no legend", p.Title, target.Expr)
			}
		}
	}
}

// TestEachAlertIsTried looks whether promtool is told to try each rule, once so
// that it fires and once so that it does not. promtool itself is no dependency:
// it takes minutes to build.
func TestEachAlertIsTried(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(deployed(t, "alerts.yaml"), &rules); err != nil || len(rules.Groups) != 1 {
		t.Fatalf("the rules: %v", err)
	}
	var tests struct {
		RuleFiles []string `yaml:"rule_files"`
		Tests     []struct {
			Rules []struct {
				Name   string `yaml:"alertname"`
				Alerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(deployed(t, "alerts.test.yaml"), &tests); err != nil {
		t.Fatal(err)
	}
	fires, rests := make(map[string]bool), make(map[string]bool)
	for _, test := range tests.Tests {
		for _, one := range test.Rules {
			if len(one.Alerts) > 0 {
				fires[one.Name] = true
			} else {
				rests[one.Name] = true
			}
		}
	}
	for _, rule := range rules.Groups[0].Rules {
		if rule.Alert == "" || rule.Expr == "" || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("rule %q is not complete", rule.Alert)
		}
		if !fires[rule.Alert] || !rests[rule.Alert] {
			t.Errorf("alerts.test.yaml: %s fires: %v, rests: %v", rule.Alert, fires[rule.Alert], rests[rule.Alert])
		}
	}
}
