package config_test

import (
	"fmt"

	"github.com/sallyport/sallyport/config"
)

func ExampleParse() {
	_, problems := config.Parse("sallyport.yaml", []byte("sites:\n  app.localhost: app:8080\n"))
	fmt.Println(problems.Err())
	// Output:
	// sallyport.yaml:2:18: sites[app.localhost].proxy "app:8080" has no scheme
	//     2 |   app.localhost: app:8080
	//       |                  ^^^^^^^^
	//   hint: write http://app:8080
}
