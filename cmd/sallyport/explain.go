package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/cmd/sallyport/tables"
	"github.com/sallyport/sallyport/config"
	"github.com/sallyport/sallyport/proxy"
	"github.com/sallyport/sallyport/proxy/admin"
	"github.com/sallyport/sallyport/proxy/explain"
	"github.com/sallyport/sallyport/tlsmgr"
)

func newExplainCommand() *cobra.Command {
	var (
		o        operator
		question explain.Question
		online   bool
	)
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Say what would become of a request, and why",
		Long: "Say what would become of a request: which site and route would take it and why the\n" +
			"routes before did not, which middleware it would meet, what the server behind would\n" +
			"be asked, and which certificate, issuer and credential the handshake would need.\n" +
			"Nothing is sent anywhere.\n\n" +
			"The answer is that of the configuration file; with --online it is that of the\n" +
			"running instance, which also knows the state of servers and certificates.\n\n" +
			"Exit codes: 0 there is an answer, also that the request would be refused; 1 there\n" +
			"is none; 2 wrong command line; 3 the configuration is wrong.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			question.URL = args[0]
			answer, err := o.explain(cmd.Context(), question, online || o.socket != "")
			if asked, ok := errors.AsType[*explain.Error](err); ok {
				return &exitError{code: exitUsage, err: asked, hint: asked.Hint()}
			}
			if err != nil {
				return err
			}
			if o.json {
				return o.print(cmd.OutOrStdout(), answer, nil)
			}
			return tables.Answer(cmd.OutOrStdout(), answer)
		},
	}
	configFlag(cmd, &o.path)
	cmd.Flags().StringVarP(&question.Method, "method", "X", "", "`method` of the request (default GET)")
	cmd.Flags().StringArrayVarP(&question.Headers, "header", "H", nil, "`header` of the request, 'Name: value'; may be given more than once")
	cmd.Flags().StringVar(&question.From, "from", "", "`address` that the connection comes from (default "+explain.Somebody+", which is nobody's)")
	cmd.Flags().BoolVar(&online, "online", false, "ask the running instance instead of reading the file")
	cmd.Flags().StringVar(&o.socket, "socket", "", "control socket `path` (default: what the configuration says); implies --online")
	return o.withJSON(cmd)
}

// explain gets the answer from the file or from the running process.
func (o *operator) explain(ctx context.Context, q explain.Question, online bool) (*explain.Answer, error) {
	if _, err := q.Request(); err != nil {
		return nil, err
	}
	if online {
		c, err := o.client()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, operateTimeout)
		defer cancel()
		answer := new(explain.Answer)
		return answer, c.Post(ctx, "/v1/explain", q.Form(), answer)
	}
	cfg, problems := config.Load(o.path)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	// What is wrong with tokens and files does not change the answer: check and
	// doctor tell.
	settings, _ := tlsmgr.FromConfig(cfg, tlsmgr.FromOptions{})
	roots, err := publicRoots()
	if err != nil {
		return nil, err
	}
	p := proxy.New(proxy.Options{Logger: zap.NewNop(), Roots: roots})
	generation, err := p.Prepare(cfg)
	if err != nil {
		return nil, err
	}
	answer, err := p.Explain(generation, q)
	if err != nil {
		return nil, err
	}
	complete(answer, q, cfg, planned(settings.Plan))
	return answer, nil
}

// explain is the same for the running process.
func (e *edge) explain(_ context.Context, form url.Values) (any, error) {
	q := explain.FromForm(form)
	answer, err := e.proxy.Explain(nil, q)
	if asked, ok := errors.AsType[*explain.Error](err); ok {
		return nil, &admin.Failure{Message: asked.Error(), Cure: asked.Hint()}
	}
	if err != nil {
		return nil, err
	}
	complete(answer, q, e.current(), e.certificates.Status())
	return answer, nil
}

// planned are the names of a plan as if nothing were known of their state.
func planned(plan tlsmgr.Plan) []tlsmgr.Status {
	var names []tlsmgr.Status
	for _, entry := range plan {
		names = append(names, tlsmgr.Status{
			Name: entry.Name, Sites: entry.Sites, Issuer: entry.Issuer, CA: entry.CA,
			Zone: entry.Zone, Credential: entry.Credential, CoveredBy: entry.CoveredBy,
		})
	}
	return names
}

// complete adds what the proxy does not know: the certificate and the port.
func complete(answer *explain.Answer, q explain.Question, cfg *config.Config, names []tlsmgr.Status) {
	addresses, key := cfg.Listen.HTTPS, "listen.https"
	if !q.Secure() {
		addresses, key = cfg.Listen.HTTP, "listen.http"
	}
	if !slices.ContainsFunc(addresses, func(address string) bool {
		_, port, err := net.SplitHostPort(address)
		return err == nil && (port == q.Port() || port == "0")
	}) {
		answer.Note(fmt.Sprintf("nothing listens on port %s for this: %s is %s", q.Port(), key, cmp.Or(strings.Join(addresses, ", "), "off")),
			"something before sallyport must lead there (ports of a container, a load balancer), or change "+key)
	}
	if !q.Secure() {
		return
	}
	name, ok := certificateName(q.Hostname(), names)
	if !ok {
		return
	}
	c := &explain.Certificate{
		Name: cmp.Or(name.CoveredBy, name.Name), Issuer: name.Issuer, CA: name.CA, Zone: name.Zone, Credential: name.Credential,
		State: string(name.State), NotAfter: moment(name.NotAfter), Error: name.LastError, Hint: name.Hint,
	}
	for _, site := range cfg.Sites {
		if c.Issuer == tlsmgr.IssuerFile && slices.Contains(name.Sites, site.Name) {
			c.File = site.TLS.Certificate
		}
	}
	answer.Certificate = c
	if answer.Online && name.NotAfter.IsZero() {
		answer.Note("there is no certificate for "+name.Name+" yet ("+c.State+"): handshakes fail", cmp.Or(name.Hint, "sallyport certs shows what is being waited for"))
	} else if answer.Online && name.NotAfter.Before(time.Now()) {
		answer.Note("the certificate for "+name.Name+" has expired: clients refuse it", cmp.Or(name.Hint, "sallyport renew "+c.Name))
	}
}

// certificateName finds what a handshake for a host is answered with: the name
// itself, or the wildcard one label up.
func certificateName(host string, names []tlsmgr.Status) (tlsmgr.Status, bool) {
	_, parent, _ := strings.Cut(host, ".")
	for _, wanted := range []string{host, "*." + parent} {
		for _, one := range names {
			if one.Name == wanted {
				return one, true
			}
		}
	}
	return tlsmgr.Status{}, false
}
